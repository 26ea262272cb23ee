"""The way from the administrator's root down to a Maildir: opened, repaired, made, and made durable.

A new directory's entry is durable once the directory it was made in is synced, so before the first
message in a new Maildir is acknowledged, every directory from the Maildir up to the root must be (fsync
of new/ alone is not promised to do it). Three cases:

1. We made an entry in it just now: sync it.
2. We found all entries there. Whoever made them may have died before he synced, or may be about to sync
   at this moment, in another thread or process; an existing directory is not a durable one. But entries
   change a directory's ctime, which nobody can set: if it is older than YOUNG_S, the kernel has long
   written it back by itself (dirty data after 30 s, ext4's journal every 5 s). If it is not, sync it.
   (A clock set forward by ten minutes just then would hide it; a cut must follow within seconds.)
3. It is young, but we synced it after its last change: its ctime is the one that we remember. Otherwise
   a busy domain's directory, where mailboxes come and go, would be synced for each mailbox opened.

A directory that we may not read cannot be synced; unless we could write to it, nobody of us has.

An fsync that failed is tried again the next time. For a file that would be wrong, but a directory's
entries are in the journal, and a file system whose journal fails takes no further change.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress

from storage.directory import Directory, open_root
from storage.disk import Disk
from storage.errors import MailboxUnusable
from storage.maildir import MaildirPath
from storage.names import parse

# Twenty times the 30 s after which Linux writes back by itself.
YOUNG_S = 600.0
# Timestamps may be as coarse as the timer's tick (10 ms at most): a change right after a look at the
# ctime may not show. One that is this old will.
GRAIN_S = 1.0
# Directories remembered as synced; a few hundred octets each. Forgetting costs an fsync.
REMEMBERED = 4096
# Names in tmp/ looked at for leftovers. An owner may have put a million there, and one delivery waits;
# maildir-clean finds the rest.
LEFTOVERS = 1000


def descend(disk: Disk, where: MaildirPath, *, create: bool) -> list[Directory]:
    """Open every directory from the root to the Maildir itself; make the missing ones if create.

    All with the rights that where tells, which whatever is done through these directories is done with.
    FileNotFoundError: one below the root is not there. Otherwise OSError or StorageError.
    """
    disk = disk.acting_as(where.rights)
    try:
        chain = [open_root(disk, where.root)]
    except FileNotFoundError as exc:
        if not where.parts:
            raise
        # More likely a file system that is not mounted than a site without mailboxes.
        raise MailboxUnusable(f"the root of the mailboxes is missing: {exc}") from exc
    for part in where.parts:
        if part in ("", ".", "..") or "/" in part or "\0" in part:
            raise ValueError(f"not the name of a directory: {part!r}")
        chain.append(_step(chain[-1], part, create=create))
    return chain


def repair(maildir: Directory) -> tuple[Directory, Directory]:
    """Open a Maildir's tmp/ and new/; make them and cur/ where they are missing. OSError."""
    tmp, new, _ = [_enter_or_make(maildir, name) for name in ("tmp", "new", "cur")]
    return tmp, new


class EntrySyncs:
    """Makes the entries of directories durable, see above. Any thread may use it."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        # (device, inode) -> the ctime in ns before we synced it. Single steps on a dict are atomic.
        self._synced: dict[tuple[int, int], int] = {}

    def ensure(self, chain: Iterable[Directory]) -> None:
        """Return when the entries of all these directories are durable. OSError."""
        for directory in chain:
            status = directory.disk.status_of(directory.fd)
            identity = (status.st_dev, status.st_ino)
            age_s = self._clock() - status.st_ctime  # below 0 when the clock was set back: young
            known = self._synced.get(identity) == status.st_ctime_ns
            if not directory.changed and (age_s > YOUNG_S or known or not directory.can_sync):
                continue
            directory.sync()
            if age_s > GRAIN_S:
                if len(self._synced) >= REMEMBERED:
                    self._synced.clear()
                self._synced[identity] = status.st_ctime_ns


def reclaim(tmp: Directory, dead_tokens: frozenset[str]) -> None:
    """Remove what our own dead processes left in tmp/; best effort. Foreign files are never touched."""
    if not dead_tokens:
        return
    with suppress(OSError):
        for name in tmp.disk.list_names(tmp.fd, at_most=LEFTOVERS):
            parsed = parse(name)
            if parsed is not None and parsed.token in dead_tokens:
                with suppress(OSError):
                    tmp.disk.unlink(name, dir_fd=tmp.fd)


def _step(directory: Directory, part: str, *, create: bool) -> Directory:
    try:
        return directory.pass_through(part)
    except FileNotFoundError:
        if not create:
            raise
    directory.make(part)
    return directory.pass_through(part)


def _enter_or_make(directory: Directory, name: str) -> Directory:
    try:
        return directory.enter(name)
    except FileNotFoundError:
        directory.make(name)
    return directory.enter(name)
