"""A real disk on which one call fails, for one mailbox or for all."""

import os

from storage.disk import Disk


class FaultyDisk(Disk):
    """A disk on which some calls below one mailbox fail, for as long as `fails` says so."""

    def __init__(self, call: str, code: int, *, after: int = 0) -> None:
        self.call, self.code, self.after = call, code, after
        self.user: str | None = None  # of which mailbox; None: all

    def _strike(self, call: str, fd: int) -> None:
        if call != self.call or (self.user and f"/{self.user}/" not in os.readlink(f"/proc/self/fd/{fd}")):
            return
        if self.after:
            self.after -= 1
            return
        raise OSError(self.code, os.strerror(self.code))

    def can_sync_file_system(self, fd: int) -> bool:
        return False  # so that each mailbox has syncs of its own

    def create(self, name: str, *, dir_fd: int | None = None) -> int:
        assert dir_fd is not None
        self._strike("create", dir_fd)
        return super().create(name, dir_fd=dir_fd)

    def write(self, fd: int, data: bytes | memoryview) -> int:
        self._strike("write", fd)
        return super().write(fd, data)

    def sync(self, fd: int) -> None:
        self._strike("sync_directory" if os.path.isdir(f"/proc/self/fd/{fd}") else "sync", fd)
        super().sync(fd)

    def rename_exclusive(self, name: str, new_name: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        self._strike("rename", dst_dir_fd)
        super().rename_exclusive(name, new_name, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
