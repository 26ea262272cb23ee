"""One Maildir, held open: messages are staged in its tmp/, published in its new/, and looked for.

Opened by `maildirs.Maildirs`, which knows how. Format: cr.yp.to/proto/maildir.html.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from stat import S_ISGID

from storage.directory import Directory
from storage.errors import MailboxMissing, MailboxUnusable, NameTaken, StorageError, from_oserror
from storage.names import NameSource, base_of, parse
from storage.staging import Staged
from storage.syncing import RoundSync, SyncPace
from storage.thread_rights import Rights

# Names are random, so a second clash in a row is no accident; qmail tries three times as well.
NAME_TRIES = 3


class Durability(Enum):
    """What is synced before a delivery counts as done."""

    FULL = "full"  # file and directories: an acknowledged message survives a power cut
    DATA = "data"  # the file only: never torn, but a cut may lose the latest
    NONE = "none"  # nothing: a cut may lose and tear the latest


@dataclass(frozen=True, slots=True)
class MaildirPath:
    """Where a Maildir is: what the administrator says, and what a name led to.

    Links in root are followed, and it must exist. Each of parts is opened below it without following
    links, so no address and no owner of a mailbox leads anywhere else.
    """

    root: str
    parts: tuple[str, ...]
    rights: Rights | None = None  # with which it is reached; None: this process's own

    @property
    def path(self) -> str:
        """The whole path, for records and reports."""
        return "/".join(("" if self.root == "/" else self.root, *self.parts))

    def below(self, parts: tuple[str, ...]) -> "MaildirPath":
        """Where these names below it lead, with the same rights."""
        return replace(self, parts=self.parts + parts)


class Maildir:
    """An open Maildir. Any thread may call any method; handles are closed when nobody refers to it."""

    __slots__ = ("_durable", "_failed", "_names", "_new", "_new_path", "_pace", "_sync_file",
                 "_syncs_whole", "_tmp", "identity", "kin", "marked", "where")  # fmt: skip

    def __init__(
        self,
        where: MaildirPath,
        tmp: Directory,
        new: Directory,
        *,
        names: NameSource,
        durable: Durability,
        pace: SyncPace,
        marked: bool,
        failed: Callable[["Maildir", StorageError], None],
    ) -> None:
        """Take over the open tmp/ and new/; failed is told of every error but NameTaken. OSError."""
        self.where = where
        self.marked = marked  # the file `maildirfolder` was asked for when it was opened
        self._tmp = tmp
        self._new = new
        self._names = names
        self._failed = failed
        self._sync_file = _leave_unsynced if durable is Durability.NONE else tmp.disk.sync
        self._durable = durable
        self._pace = pace
        self._syncs_whole = durable is not Durability.NONE and tmp.disk.can_sync_file_system(tmp.fd)
        self._new_path = where.path + "/new"
        status = new.disk.status_of(new.fd)
        self.identity = (status.st_dev, status.st_ino)
        tmp.device = status.st_dev
        # Files in Maildirs of the same kin lie on one file system and get the same owner and group.
        self.kin = (status.st_dev, status.st_uid, status.st_gid, status.st_mode & S_ISGID, where.rights)

    @property
    def path(self) -> str:
        """The path by which it was opened."""
        return self.where.path

    @property
    def device(self) -> int:
        """The file system that it is on (st_dev)."""
        return self.identity[0]

    @property
    def shared_device(self) -> int | None:
        """Its file system if that can be synced as a whole, for many deliveries at once."""
        return self.identity[0] if self._syncs_whole else None

    def is_current(self) -> bool:
        """Tell whether its path still leads to the directory that is open; one lstat of new/.

        Links on the way do not matter here: only the very same directory, which was reached without
        them, has this identity as long as it is open.
        """
        try:
            status = self._new.disk.status(self._new_path)
        except OSError:
            return False
        return (status.st_dev, status.st_ino) == self.identity

    def serves_for(self, other: "Maildir") -> bool:
        """Tell whether this is the same Maildir as other, opened with no less."""
        return self.identity == other.identity and (self.marked or not other.marked)

    def begin_round(self) -> RoundSync:
        """Begin a round of deliveries to its file system, before the first of them is written."""
        reopen = partial(self._tmp.disk.open_directory, ".", dir_fd=self._tmp.fd)
        return RoundSync(
            self._tmp.disk, self._pace, device=self.device, reopen=reopen if self._syncs_whole else None
        )

    def stage(self) -> Staged:
        """Create a file with a new name in tmp/, empty and open for writing. The caller discards it."""
        disk, tmp = self._tmp.disk, self._tmp
        for _ in range(NAME_TRIES):
            name = self._names.next()
            try:
                fd = disk.create(name, dir_fd=tmp.fd)
            except FileExistsError:
                continue
            except OSError as exc:
                raise self._error(exc) from exc
            return Staged(
                disk,
                name,
                fd,
                tmp=tmp,
                new=self._new,
                sync_file=self._sync_file,
                error=self._error,
            )
        raise NameTaken(f"{NAME_TRIES} new names in a row are taken in {self.path}")

    def another_name(self) -> str:
        """Return a name that was never given before, without sizes."""
        return self._names.next()

    def stage_link(self, original: Staged) -> Staged | None:
        """Stage a message that is written in another Maildir without writing it again: one file, two names.

        None: that cannot be (another file system, too many names, whatever the system says), and nothing
        is lost by writing it again. The original is synced first; each is published and discarded by itself.
        """
        tmp = self._tmp
        try:
            name = self._names.next()
            original.link_into(tmp, name)
        except OSError:
            return None
        return Staged(
            tmp.disk,
            name,
            -1,
            tmp=tmp,
            new=self._new,
            sync_file=self._sync_file,
            error=self._error,
            original=original,
        )

    def holds(self, name: str) -> bool:
        """Tell whether a message of this final name is in new/, or in cur/ with any flags."""
        disk, new = self._new.disk, self._new
        try:
            try:
                disk.status(name, dir_fd=new.fd)
                return True
            except FileNotFoundError:
                pass
            # The directory above new/ is the Maildir, by whatever path it is reached now.
            cur = new.enter("../cur")
            # A listing may miss a file that gets other flags meanwhile; two in a row hardly will.
            return any(base_of(entry) == name for _ in range(2) for entry in disk.list_names(cur.fd))
        except OSError as exc:
            raise self._error(exc) from exc

    def sync(self) -> None:
        """Make what was published before this call durable in new/.

        An error leaves it open whether the messages survive.
        """
        if self.syncs_directory:
            try:
                self._new.sync()
            except OSError as exc:
                raise self._error(exc) from exc

    @property
    def syncs_directory(self) -> bool:
        """Whether what is published is to be made durable."""
        return self._durable is Durability.FULL

    def sync_failed(self, exc: OSError) -> StorageError:
        """Name an error of a sync of the whole file system, which takes the place of sync()."""
        return self._error(exc)

    def remove_tmp(self, name: str) -> bool:
        """Remove an own leftover in tmp/; tell whether there was one. Names of others are left alone."""
        if parse(name) is None:
            return False
        try:
            self._tmp.disk.unlink(name, dir_fd=self._tmp.fd)
        except FileNotFoundError:
            return False
        except OSError as exc:
            raise self._error(exc) from exc
        return True

    def _error(self, exc: OSError) -> StorageError:
        error = from_oserror(exc)
        if isinstance(error, MailboxMissing):
            # It was there when it was opened, so this is no proof that there is no such mailbox.
            error = MailboxUnusable(f"{self.path} was removed or replaced: {exc}")
            error.oserror = exc
        if not isinstance(error, NameTaken):
            self._failed(self, error)
        return error


def _leave_unsynced(_fd: int) -> None:
    """Durability.NONE."""
