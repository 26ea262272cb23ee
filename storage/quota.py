"""A mailbox's quota, kept in its `maildirsize` file as Maildir++ has it, beside Courier and Dovecot.

The rules are README.maildirquota's: one line is appended for what comes or goes; the mailbox is counted
anew, and the file replaced by a rename from tmp/, when there is no file, when it is 5,120 octets long or
cannot be read, and before a message is refused, unless that was done within 15 minutes and nothing was
appended since.

Maildir++ as such lets mailboxes overrun: who checks and then appends overlooks those who do so at the
same moment. Here a delivery appends its line first (it *reserves*), and looks at what stands above the
line: O_APPEND gives one order to all, over processes and hosts, so the message that is too much is known.
A message that is not delivered after all gives its reservation back. Counting would overlook what is
reserved and not yet there, so a reservation keeps the file locked (flock, shared) until it is settled,
and who counts needs it alone. Other programs know nothing of the lock and need not.

A process that dies between reserving and publishing leaves a line without a message. That makes nothing
wrong: before anything is refused the mailbox is counted.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass

from storage import maildirsize
from storage.directory import Directory
from storage.disk import Disk
from storage.errors import StorageError, from_oserror
from storage.maildir import MaildirPath
from storage.names import NameSource
from storage.opening import descend, repair
from storage.quota_count import Counting, count, has_changed
from storage.quota_file import SizeFile
from storage.quota_limit import NOTHING, UNLIMITED, QuotaLimit, Usage

STALE_S = 15 * 60.0  # README.maildirquota; Courier and Dovecot have the same
# A busy mailbox changes all the time; our own deliveries are kept out, so this is about mail readers.
COUNTS = 2
# Deliveries that hold a reservation are at their last milliseconds, unless the disk is slow. Who makes one
# himself does not wait: he may have others in the same hands, or hold up whom this mailbox does not concern.
WAIT_S = 2.0
_PAUSE_S = 0.01
_TRIES = 5  # for a file that others keep replacing under our hands


@dataclass(frozen=True, slots=True)
class QuotaBox:
    """One mailbox, as its quota sees it."""

    inbox: MaildirPath
    counting: Counting
    limit: QuotaLimit | None  # None: what the file says; without a file there is no limit


@dataclass(frozen=True, slots=True)
class Standing:
    """How much there is and may be."""

    limit: QuotaLimit
    usage: Usage
    is_certain: bool = True  # False: it should be counted, and deliveries in flight forbid it now


class Full(StorageError):
    """What was to be added does not fit."""

    def __init__(self, standing: Standing) -> None:
        limit, usage = standing.limit, standing.usage
        super().__init__(f"{usage.octets} octets in {usage.messages} messages of {limit} are used")
        self.standing = standing


class QuotaFiles:
    """Reads and keeps the files of all mailboxes. One per worker; any thread may use it."""

    def __init__(self, disk: Disk, names: NameSource, *, clock: Callable[[], float] = time.time) -> None:
        self._disk = disk
        self._names = names
        self._clock = clock

    def standing(self, box: QuotaBox, *, adding: Usage = NOTHING, extra: QuotaLimit = UNLIMITED) -> Standing:
        """Tell how the mailbox stands; counted anew by the rules if adding would not fit. StorageError."""
        with _naming_errors():
            inbox = descend(self._disk, box.inbox, create=False)[-1]
            file = self._settled(inbox, box, adding, extra, wait_s=WAIT_S)
        if file is None:
            return Standing(UNLIMITED, NOTHING)
        file.close()
        return Standing(with_extra(_limit(box, file), extra), file.usage, is_certain=file.is_certain)

    def reserve(
        self, box: QuotaBox, adding: Usage, *, extra: QuotaLimit = UNLIMITED, enforced: bool = True
    ) -> "Reservation":
        """Enter what is about to be put into the mailbox. Full, or another StorageError: nothing is entered.

        The caller keeps the reservation or gives it back. Unless enforced, it always fits. It never waits
        for other reservations: where one forbids to count, what does not fit is Full, and not certain.
        """
        with _naming_errors():
            inbox = descend(self._disk, box.inbox, create=False)[-1]
            for _ in range(_TRIES):
                file = self._settled(inbox, box, adding, extra, wait_s=0)
                if file is None:
                    return Reservation(None, inbox, adding, Standing(UNLIMITED, NOTHING))
                with ExitStack() as unless_reserved:
                    unless_reserved.callback(file.close)
                    self._disk.lock_shared(file.fd)
                    if file.is_gone():
                        continue
                    limit = with_extra(_limit(box, file), extra)
                    if enforced and not limit.allows(file.usage + adding):
                        raise Full(Standing(limit, file.usage, is_certain=file.is_certain))
                    above = file.enter(adding)
                    if enforced and not limit.allows(above + adding):
                        # Somebody was faster. He may give back what he has reserved: not for ever.
                        file.enter(NOTHING - adding)
                        raise Full(Standing(limit, above, is_certain=False))
                    unless_reserved.pop_all()
                    return Reservation(file, inbox, adding, Standing(limit, above + adding))
        raise StorageError(f"{box.inbox.path}/{maildirsize.NAME} is replaced again and again")

    def recount(self, box: QuotaBox, inbox: Directory | None = None) -> Standing:
        """Count the mailbox and write it down, whatever the file says. StorageError.

        inbox: the mailbox, where it is open already.
        """
        with _naming_errors():
            inbox = inbox or descend(self._disk, box.inbox, create=False)[-1]
            alone, file = self._alone(inbox, self._open(inbox), wait_s=WAIT_S)
            usage = self._count(inbox, box, file)
            limit = _limit(box, file)
            return Standing(limit, usage, is_certain=alone)

    def look(self, box: QuotaBox, *, adding: Usage = NOTHING, extra: QuotaLimit = UNLIMITED) -> Standing:
        """Tell what `standing` would, and change nothing. StorageError."""
        with _naming_errors():
            inbox = descend(self._disk, box.inbox, create=False)[-1]
            file = self._open(inbox)
            limit = with_extra(_limit(box, file), extra)
            if file is not None and self._is_trusted(file, box, adding, extra):
                return Standing(limit, file.usage)
            if not limit:
                return Standing(limit, NOTHING)
            usage = count(inbox, box.counting).usage
            # `standing` writes the count down.
            inbox.disk.may_add(dir_fd=inbox.fd)
            return Standing(limit, usage)

    def account(self, box: QuotaBox, inbox: Directory | None = None) -> Standing | None:
        """Tell what the file says, whatever is in the mailbox; None: there is none. StorageError."""
        with _naming_errors():
            inbox = inbox or descend(self._disk, box.inbox, create=False)[-1]
            file = self._open(inbox)
        return Standing(_limit(box, file), file.usage, is_certain=file.account.is_sound) if file else None

    def actual(self, box: QuotaBox) -> Usage:
        """Count the mailbox and change nothing. StorageError."""
        with _naming_errors():
            return count(descend(self._disk, box.inbox, create=False)[-1], box.counting).usage

    def _settled(
        self, inbox: Directory, box: QuotaBox, adding: Usage, extra: QuotaLimit, *, wait_s: float
    ) -> SizeFile | None:
        """Open the file, replaced by a new count where the rules want one; None: there is no quota."""
        file = self._open(inbox)
        if self._is_trusted(file, box, adding, extra):
            return file
        alone, file = self._alone(inbox, file, wait_s=wait_s)
        # Who had it before us may have counted.
        if self._is_trusted(file, box, adding, extra):
            return file
        if file is not None and not alone and file.account.is_sound:
            file.is_certain = False
            return file
        self._count(inbox, box, file)
        return self._open(inbox)

    def _is_trusted(self, file: SizeFile | None, box: QuotaBox, adding: Usage, extra: QuotaLimit) -> bool:
        if file is None:
            return box.limit is None
        limit = _limit(box, file)
        if not file.account.is_sound or file.account.limit != limit:
            return False
        if with_extra(limit, extra).allows(file.usage + adding):
            return True
        return file.account.lines == 1 and self._clock() - file.changed_at() < STALE_S

    def _alone(
        self, inbox: Directory, file: SizeFile | None, *, wait_s: float
    ) -> tuple[bool, SizeFile | None]:
        """Lock the file, or the one in its place, for a count; False if somebody keeps it locked."""
        give_up = time.monotonic() + wait_s
        while file is not None:
            alone = self._disk.try_lock_alone(file.fd)
            if alone and not file.is_gone():
                return True, file.again()
            if time.monotonic() > give_up:
                return False, file
            time.sleep(0 if alone else _PAUSE_S)
            file = self._open(inbox)
        return True, None

    def _open(self, inbox: Directory) -> SizeFile | None:
        try:
            return SizeFile(inbox.disk, inbox.disk.open_to_append(maildirsize.NAME, dir_fd=inbox.fd))
        except FileNotFoundError:
            return None

    def _count(self, inbox: Directory, box: QuotaBox, file: SizeFile | None) -> Usage:
        """Count, and put a new file in the place of the old one, which is locked, and closed then."""
        with ExitStack() as done:
            if file is not None:
                done.callback(file.close)
            usage = self._counted(inbox, box.counting)
            self._put(inbox, _limit(box, file), usage, is_new=file is None)
            return usage

    def _put(self, inbox: Directory, limit: QuotaLimit, usage: Usage, *, is_new: bool) -> None:
        tmp, _ = repair(inbox)
        disk, name = tmp.disk, self._names.next()
        fd = disk.create(name, dir_fd=tmp.fd)
        try:
            try:
                disk.write(fd, maildirsize.whole(limit, usage))
                # The limit may stand nowhere else.
                disk.sync(fd)
            finally:
                disk.close(fd)
            if is_new:
                disk.rename_exclusive(name, maildirsize.NAME, src_dir_fd=tmp.fd, dst_dir_fd=inbox.fd)
            else:
                disk.replace(name, maildirsize.NAME, src_dir_fd=tmp.fd, dir_fd=inbox.fd)
        except OSError as exc:
            with suppress(OSError):
                disk.unlink(name, dir_fd=tmp.fd)
            if not isinstance(exc, FileExistsError):  # another thread or process was faster
                raise

    def _counted(self, inbox: Directory, counting: Counting) -> Usage:
        counted = count(inbox, counting)
        for _ in range(COUNTS - 1):
            if not has_changed(inbox, counting, counted):
                break
            counted = count(inbox, counting)
        return counted.usage


class Reservation:
    """Room for one message. Confined to one thread; settled once, by whichever call comes first."""

    __slots__ = ("_adding", "_file", "_inbox", "standing")

    def __init__(self, file: SizeFile | None, inbox: Directory, adding: Usage, standing: Standing) -> None:
        self._file = file
        self._inbox = inbox
        self._adding = adding
        self.standing = standing  # with what was reserved

    def keep(self) -> None:
        """The message is in the mailbox. Best effort, never raises."""
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError), closing(file):
                if file.is_gone():
                    # Another program has counted meanwhile. If it saw the message, that is now one too
                    # many, which the next count mends; one too few would stay.
                    disk = self._inbox.disk
                    fd = disk.open_to_append(maildirsize.NAME, dir_fd=self._inbox.fd)
                    SizeFile(disk, fd).enter(self._adding)

    def give_back(self) -> None:
        """The message was not delivered. Best effort, never raises."""
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError), closing(file):
                file.enter(NOTHING - self._adding)


def with_extra(limit: QuotaLimit, extra: QuotaLimit) -> QuotaLimit:
    """Raise a limit, for a folder that may hold more; what has no limit stays so."""
    return QuotaLimit(
        limit.octets + extra.octets if limit.octets else 0,
        limit.messages + extra.messages if limit.messages else 0,
    )


@contextmanager
def _naming_errors() -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise from_oserror(exc) from exc


def _limit(box: QuotaBox, file: SizeFile | None) -> QuotaLimit:
    if box.limit is not None:
        return box.limit
    return file.account.limit if file is not None else UNLIMITED
