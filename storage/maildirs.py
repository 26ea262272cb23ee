"""The Maildirs of a worker, held open between deliveries.

Opening a Maildir safely takes a call for every directory on the way; a Maildir that is open takes one
lstat, to see that nobody has replaced it since.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock

from storage.disk import Disk
from storage.errors import OutOfDescriptors, StorageError, from_oserror
from storage.maildir import Durability, Maildir, MaildirPath
from storage.names import NameSource
from storage.opening import EntrySyncs, descend, reclaim, repair
from storage.syncing import SyncPace

# Two descriptors each: 1,024 together.
CAPACITY = 512

MARKER = "maildirfolder"


class Maildirs:
    """Opens Maildirs and keeps the recently used ones open. Made after the fork; any thread may use it.

    A Maildir that was opened with one owner's rights is never given to who comes with other ones.
    The cache only refers to a Maildir; whoever was given one has it for as long as he likes, also when
    it is replaced or pushed out meanwhile.
    """

    def __init__(
        self,
        disk: Disk,
        names: NameSource,
        *,
        durable: Durability = Durability.FULL,
        dead_tokens: Callable[[], frozenset[str]] = frozenset,
        capacity: int = CAPACITY,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """dead_tokens: the R of the names that this service's dead processes gave.

        It is asked at each opening, so it should be quick; what it raises, open() raises.
        """
        self._disk = disk
        self._names = names
        self._durable = durable
        self._dead_tokens = dead_tokens
        self._capacity = capacity
        self._entry_syncs = EntrySyncs(clock)
        self._pace = SyncPace()
        self._lock = Lock()  # guards _open, least recently used first; nothing is closed under it
        self._open: OrderedDict[MaildirPath, Maildir] = OrderedDict()

    @property
    def disk(self) -> Disk:
        """Where the Maildirs are."""
        return self._disk

    def open(self, where: MaildirPath, *, create: bool, marker: bool = False) -> Maildir:
        """Return the Maildir there, usable and its directories durable up to the root.

        Missing new/, cur/ and tmp/ are made in any case; with create the Maildir itself and what leads
        to it, too; with marker the empty file that tells a Maildir++ folder. What dead processes of
        this service left in tmp/ is removed at an opening. MailboxMissing: there is no directory, and
        not create; any other StorageError: it cannot be used.
        """
        with self._lock:
            maildir = self._open.get(where)
            if maildir is not None:
                self._open.move_to_end(where)
        if maildir is not None:
            if maildir.is_current() and (maildir.marked or not marker):
                return maildir
            self._forget(maildir)
        try:
            return self._keep(self._open_afresh(where, create=create, marker=marker))
        except OutOfDescriptors:
            # What we hold open to be faster must not be the reason.
            self.close()
        return self._keep(self._open_afresh(where, create=create, marker=marker))

    def close(self) -> None:
        """Let go of all Maildirs; those that are in use are closed when their users are done."""
        with self._lock:
            let_go, self._open = self._open, OrderedDict()
        let_go.clear()

    def _open_afresh(self, where: MaildirPath, *, create: bool, marker: bool) -> Maildir:
        try:
            chain = descend(self._disk, where, create=create)
            tmp, new = repair(chain[-1])
            if marker:
                chain[-1].put_empty_file(MARKER)
            if self._durable is Durability.FULL:
                self._entry_syncs.ensure(reversed(chain))
            reclaim(tmp, self._dead_tokens())
            return Maildir(
                where,
                tmp,
                new,
                names=self._names,
                durable=self._durable,
                pace=self._pace,
                marked=marker,
                failed=self._noticed,
            )
        except OSError as exc:
            raise from_oserror(exc) from exc

    def _keep(self, opened: Maildir) -> Maildir:
        key = opened.where
        with self._lock:
            known = self._open.get(key)
            if known is not None and known.serves_for(opened):
                # Another thread was faster; with one Maildir for both they share their syncs.
                return known
            self._open[key] = opened
            pushed_out = self._open.popitem(last=False) if len(self._open) > self._capacity else None
        del pushed_out
        return opened

    def _noticed(self, maildir: Maildir, error: StorageError) -> None:
        """An open Maildir has failed: the next use opens it afresh and finds out."""
        self._forget(maildir)
        if isinstance(error, OutOfDescriptors):
            self.close()

    def _forget(self, maildir: Maildir) -> None:
        key = maildir.where
        with self._lock:
            if self._open.get(key) is maildir:
                del self._open[key]
