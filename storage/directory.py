"""A directory held open: everything below it is reached through it, never again by its path.

So whoever owns the mailbox may put links and other things wherever he likes, also at any moment between
two of our steps: what was opened stays what it was, and what is opened next is refused if it is a link.
"""

import os.path
from contextlib import suppress
from typing import Self

from storage.disk import Disk

# No right for group and others, so the process's umask has nothing to take away.
DIRECTORY_MODE = 0o700


class Directory:
    """An open directory, closed when nobody refers to it any more.

    Counting references is what Python does anyway; so whoever may still need the descriptor, in whatever
    thread, keeps it open by having this object. Any thread may use it.
    """

    __slots__ = ("can_sync", "changed", "device", "disk", "fd")

    def __init__(self, disk: Disk, fd: int) -> None:
        """Take over fd."""
        self.disk = disk
        self.fd = fd
        self.can_sync = True
        self.changed = False  # an entry was made in it through this object
        self.device = -1  # st_dev, once somebody has looked

    def __del__(self) -> None:
        # Nothing was written through this descriptor, so there is nothing that closing could lose.
        with suppress(OSError):
            self.disk.close(self.fd)

    def enter(self, name: str) -> Self:
        """Open a directory in this one; a link is refused. Raise OSError."""
        return type(self)(self.disk, self.disk.open_directory(name, dir_fd=self.fd))

    def pass_through(self, name: str) -> Self:
        """Open a directory in this one on the way to another; it need not be readable. Raise OSError.

        Directories above mailboxes are often 0711. What cannot be read cannot be synced.
        """
        try:
            return self.enter(name)
        except PermissionError:
            passed = type(self)(self.disk, self.disk.open_path(name, dir_fd=self.fd))
        passed.can_sync = False
        return passed

    def make(self, name: str) -> None:
        """Make a directory in this one. Raise OSError.

        Another thread or process may have been faster: then it is there, and just as young.
        """
        with suppress(FileExistsError):
            self.disk.make_directory(name, DIRECTORY_MODE, dir_fd=self.fd)
        self.changed = True

    def put_empty_file(self, name: str) -> None:
        """Make an empty file unless something of this name is there. Raise OSError."""
        with suppress(FileExistsError):
            self.disk.close(self.disk.create(name, dir_fd=self.fd))
            self.changed = True

    def sync(self, _: object = None) -> None:
        """Make this directory's entries durable. Raise OSError."""
        self.disk.sync(self.fd)


def open_root(disk: Disk, path: str) -> Directory:
    """Open a directory that the administrator names: links are followed, it need not be readable. OSError."""
    try:
        return Directory(disk, disk.open_directory(path, follow=True))
    except PermissionError:
        root = Directory(disk, disk.open_path(path, follow=True))
    root.can_sync = False
    return root


def make_path(disk: Disk, path: str) -> list[str]:
    """Make a directory and what is missing above it, durable on return; return what was made, topmost first.

    For an administrator's path: links in it are followed. Raise OSError.
    """
    missing = []
    while not os.path.isdir(path):
        missing.append(path)
        path = os.path.dirname(path)
    made = missing[::-1]
    for each in made:
        parent = Directory(disk, disk.open_directory(os.path.dirname(each), follow=True))
        with suppress(FileExistsError):
            disk.make_directory(os.path.basename(each), DIRECTORY_MODE, dir_fd=parent.fd)
        parent.sync()
    return made
