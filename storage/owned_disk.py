"""The disk of a server that is root and acts as each mailbox's owner.

`OwnersDisk` is what the server has: with it one may look with root's rights, and do anything else with
nobody's, so a place that forgot whose mailbox it works in can do nothing there. `OwnedDisk` is the same
disk with the rights of one owner. A Maildir that is open keeps the disk that it was
opened with, so nobody acts through it with other rights than those it was reached with.

The rule: each call that names something, or writes, is made with the owner's rights, and nothing else is.
What only uses a descriptor (read, sync, close, lock, stat, list) asks for no right.
"""

import errno
import os
from dataclasses import replace
from functools import lru_cache

from storage.disk import Disk
from storage.thread_rights import Held, Rights

# Whom every kernel has for who has no rights at all (overflowuid).
NOBODY = Rights(65534, 65534)
OWNERS_KEPT = 10_000  # a few hundred octets each


class OwnedDisk(Disk):
    """The disk with one owner's rights. Any thread may call any method."""

    def __init__(self, rights: Rights) -> None:
        self._rights = rights
        self._held = Held(rights)

    def acting_as(self, rights: Rights | None) -> Disk:
        """Return itself: nobody gets from here to somebody else's rights."""
        if rights is None or (rights.uid, rights.gid) != (self._rights.uid, self._rights.gid):
            raise PermissionError(errno.EPERM, f"with the rights of {self._rights} nobody acts as {rights}")
        return self

    def open_directory(self, name: str, *, dir_fd: int | None = None, follow: bool = False) -> int:
        """As the owner."""
        with self._held:
            return super().open_directory(name, dir_fd=dir_fd, follow=follow)

    def open_path(self, name: str, *, dir_fd: int | None = None, follow: bool = False) -> int:
        """As the owner."""
        with self._held:
            return super().open_path(name, dir_fd=dir_fd, follow=follow)

    def make_directory(self, name: str, mode: int, *, dir_fd: int | None = None) -> None:
        """As the owner."""
        with self._held:
            super().make_directory(name, mode, dir_fd=dir_fd)

    def create(self, name: str, *, dir_fd: int | None = None) -> int:
        """As the owner."""
        with self._held:
            return super().create(name, dir_fd=dir_fd)

    def open_file(self, name: str, *, dir_fd: int | None = None) -> int:
        """As the owner."""
        with self._held:
            return super().open_file(name, dir_fd=dir_fd)

    def open_to_append(self, name: str, *, dir_fd: int | None = None) -> int:
        """As the owner."""
        with self._held:
            return super().open_to_append(name, dir_fd=dir_fd)

    # Writing needs no right to the file any more, but takes blocks, some of which are root's only.

    def append(self, fd: int, data: bytes) -> int:
        """As the owner."""
        with self._held:
            return super().append(fd, data)

    def write(self, fd: int, data: bytes | memoryview) -> int:
        """As the owner."""
        with self._held:
            return super().write(fd, data)

    def copy_range(self, src_fd: int, dst_fd: int, *, offset: int, octets: int) -> int:
        """As the owner."""
        with self._held:
            return super().copy_range(src_fd, dst_fd, offset=offset, octets=octets)

    def rename_exclusive(self, name: str, new_name: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        """As the owner."""
        with self._held:
            super().rename_exclusive(name, new_name, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    def link(self, name: str, new_name: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        """As the owner."""
        with self._held:
            super().link(name, new_name, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    def replace(self, name: str, new_name: str, *, dir_fd: int, src_dir_fd: int | None = None) -> None:
        """As the owner."""
        with self._held:
            super().replace(name, new_name, dir_fd=dir_fd, src_dir_fd=src_dir_fd)

    def unlink(self, name: str, *, dir_fd: int | None = None) -> None:
        """As the owner."""
        with self._held:
            super().unlink(name, dir_fd=dir_fd)

    def may_add(self, *, dir_fd: int) -> None:
        """As the owner."""
        with self._held:
            super().may_add(dir_fd=dir_fd)

    def status(self, name: str, *, dir_fd: int | None = None) -> os.stat_result:
        """As the owner."""
        with self._held:
            return super().status(name, dir_fd=dir_fd)

    def file_system(self, path: str) -> os.statvfs_result:
        """As the owner."""
        with self._held:
            return super().file_system(path)


class OwnersDisk(OwnedDisk):
    """The disk of a server whose mailboxes have owners. Any thread may call any method."""

    def __init__(self, groups: tuple[int, ...] = ()) -> None:
        """groups: which every owner has besides his own."""
        super().__init__(NOBODY)
        self._groups = groups
        self._owned = lru_cache(OWNERS_KEPT)(self._make)

    def acting_as(self, rights: Rights | None) -> Disk:
        """Return the disk with these rights. PermissionError: it is not known whose."""
        if rights is None:
            raise PermissionError(errno.EPERM, "it is not known whose mailbox this is")
        return self._owned(rights)

    def _make(self, rights: Rights) -> OwnedDisk:
        return OwnedDisk(replace(rights, groups=rights.groups or self._groups))

    def open_directory(self, name: str, *, dir_fd: int | None = None, follow: bool = False) -> int:
        """Open a directory with root's rights, to look."""
        return Disk.open_directory(self, name, dir_fd=dir_fd, follow=follow)

    def open_path(self, name: str, *, dir_fd: int | None = None, follow: bool = False) -> int:
        """Open a directory with root's rights, to pass through."""
        return Disk.open_path(self, name, dir_fd=dir_fd, follow=follow)

    def status(self, name: str, *, dir_fd: int | None = None) -> os.stat_result:
        """Look at a name with root's rights."""
        return Disk.status(self, name, dir_fd=dir_fd)

    def file_system(self, path: str) -> os.statvfs_result:
        """Look at the file system with root's rights."""
        return Disk.file_system(self, path)
