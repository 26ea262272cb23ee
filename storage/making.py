"""Making Maildirs and folders for an administrator: with an owner and modes, and safe to do twice."""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from grp import getgrnam
from pathlib import Path
from pwd import getpwnam, getpwuid

from storage.directory import DIRECTORY_MODE, Directory, open_root
from storage.disk import Disk
from storage.errors import MailboxUnusable
from storage.folders import FolderNames, Layout, folder_parts
from storage.maildir import MaildirPath
from storage.maildirs import MARKER
from storage.rights import acting_as

SUBDIRECTORIES = ("tmp", "new", "cur")


@dataclass(frozen=True, slots=True)
class OwnerIds:
    """Whose a Maildir is."""

    uid: int
    gid: int

    @classmethod
    def parse(cls, text: str) -> "OwnerIds":
        """Read USER, USER:GROUP, numbers too. ValueError says what is wrong."""
        user, colon, group = text.partition(":")
        try:
            uid = int(user) if user.isdecimal() else getpwnam(user).pw_uid
        except KeyError as exc:
            raise ValueError(f"there is no user {user!r}") from exc
        try:
            if not colon:
                return cls(uid, getpwuid(uid).pw_gid)
            return cls(uid, int(group) if group.isdecimal() else getgrnam(group).gr_gid)
        except KeyError as exc:
            what = (
                f"no group {group!r}" if colon else f"no user {uid}, so give the group as well: {uid}:GROUP"
            )
            raise ValueError(f"there is {what}") from exc

    @classmethod
    def of_parent(cls, path: str) -> "OwnerIds":
        """Take the owner of the nearest directory above path that exists. OSError."""
        for parent in Path(path).absolute().parents:
            with suppress(FileNotFoundError):
                status = parent.stat()
                return cls(status.st_uid, status.st_gid)
        raise FileNotFoundError(path)


def make_way(disk: Disk, where: MaildirPath, owner: OwnerIds, mode: int) -> Iterator[Directory]:
    """Open every directory from below the root to the Maildir, the missing ones made; yield each that is new.

    The last one yielded or not, the Maildir itself is opened by the caller afterwards. Each is durable and
    the owner's when it is yielded. OSError, StorageError.
    """
    directory = open_root(disk, where.root)
    for index, part in enumerate(where.parts, start=1):
        is_last = index == len(where.parts)
        try:
            directory = directory.pass_through(part)
        except FileNotFoundError:
            directory = _make_owned(directory, part, owner, mode if is_last else DIRECTORY_MODE)
            yield directory
            continue
        if is_last:
            _adopt(directory, where, owner)


def make_parts(folder: Directory, mode: int) -> list[str]:
    """Make what is missing of tmp/, new/ and cur/; return what was made. Durable on return. OSError."""
    made = [name for name in SUBDIRECTORIES if make_one(folder, name, mode)]
    if made:
        folder.sync()
    return made


def make_folder(
    maildir: Directory, layout: Layout, folder: str, mode: int, *, names: FolderNames = FolderNames.UTF7
) -> bool:
    """Make a folder of an open Maildir, or what is missing of it; tell whether anything was missing.

    FolderNameError, OSError.
    """
    directory, made = maildir, False
    for part in folder_parts(layout, folder, names=names):
        if make_one(directory, part, mode):
            directory.sync()
            made = True
        directory = directory.enter(part)
    made |= bool(make_parts(directory, mode))
    if layout is Layout.MAILDIRPP and directory is not maildir:
        try:
            directory.disk.status(MARKER, dir_fd=directory.fd)
        except FileNotFoundError:
            directory.put_empty_file(MARKER)
            directory.sync()
            made = True
    return made


def mode_of(maildir: Directory) -> int:
    """Return the mode for new directories in a Maildir: its own, without rights for others. OSError."""
    return os.fstat(maildir.fd).st_mode & 0o2770 | DIRECTORY_MODE


def make_one(directory: Directory, name: str, mode: int) -> bool:
    """Make one directory in an open one, with this mode whatever the umask; tell whether it was missing."""
    try:
        directory.disk.make_directory(name, mode & 0o700, dir_fd=directory.fd)
    except FileExistsError:
        return False
    directory.changed = True
    made = directory.enter(name)
    os.fchmod(made.fd, mode)
    return True


def _make_owned(parent: Directory, name: str, owner: OwnerIds, mode: int) -> Directory:
    # As the owner, where he may: what is root's for a moment defers a message that arrives in it.
    with suppress(PermissionError), acting_as(owner.uid, owner.gid):
        make_one(parent, name, mode)
    make_one(parent, name, mode)
    made = parent.enter(name)
    if os.geteuid() == 0:
        os.fchown(made.fd, owner.uid, owner.gid)
        os.fchmod(made.fd, mode)  # fchown takes the set-group-id bit away
    parent.sync()
    return made


def _adopt(directory: Directory, where: MaildirPath, owner: OwnerIds) -> None:
    """Give an existing Maildir to its owner only if it is empty and root's: a run that was interrupted."""
    status = os.fstat(directory.fd)
    if os.geteuid() != 0 or status.st_uid == owner.uid:
        return
    if status.st_uid == 0 and not directory.disk.list_names(directory.fd, at_most=1):
        os.fchown(directory.fd, owner.uid, owner.gid)
        return
    raise MailboxUnusable(f"{where.path} is there and belongs to user {status.st_uid}, not {owner.uid}")
