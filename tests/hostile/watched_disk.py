"""A real disk on which something happens just before the n-th call that concerns one mailbox."""

import os
from collections.abc import Callable

from storage.disk import Disk


class WatchedDisk(Disk):
    """`before` is called with the call's name and path ahead of each call below `/victim`, and may raise."""

    def __init__(self) -> None:
        self.victim = ""
        self.before: Callable[[str, str], None] = lambda call, path: None

    def strike(self, call: str, path: str) -> None:
        """Tell the test of a call."""
        if self.victim and f"/{self.victim}/" in f"{path}/":
            self.before(call, path)

    def open_directory(self, name: str, *, dir_fd: int | None = None, follow: bool = False) -> int:
        self.strike("open_directory", _path(name, dir_fd))
        return super().open_directory(name, dir_fd=dir_fd, follow=follow)

    def open_path(self, name: str, *, dir_fd: int | None = None, follow: bool = False) -> int:
        self.strike("open_path", _path(name, dir_fd))
        return super().open_path(name, dir_fd=dir_fd, follow=follow)

    def make_directory(self, name: str, mode: int, *, dir_fd: int | None = None) -> None:
        self.strike("make_directory", _path(name, dir_fd))
        super().make_directory(name, mode, dir_fd=dir_fd)

    def create(self, name: str, *, dir_fd: int | None = None) -> int:
        self.strike("create", _path(name, dir_fd))
        return super().create(name, dir_fd=dir_fd)

    def open_file(self, name: str, *, dir_fd: int | None = None) -> int:
        self.strike("open_file", _path(name, dir_fd))
        return super().open_file(name, dir_fd=dir_fd)

    def write(self, fd: int, data: bytes | memoryview) -> int:
        self.strike("write", _path("", fd))
        return super().write(fd, data)

    def copy_range(self, src_fd: int, dst_fd: int, *, offset: int, octets: int) -> int:
        self.strike("copy_range", _path("", dst_fd))
        return super().copy_range(src_fd, dst_fd, offset=offset, octets=octets)

    def sync(self, fd: int) -> None:
        self.strike("sync", _path("", fd))
        super().sync(fd)

    def close(self, fd: int) -> None:
        path = _path("", fd)
        super().close(fd)  # Linux frees the descriptor whatever it answers
        self.strike("close", path)

    def rename_exclusive(self, name: str, new_name: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        self.strike("rename_exclusive", _path(new_name, dst_dir_fd))
        super().rename_exclusive(name, new_name, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    def link(self, name: str, new_name: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        self.strike("link", _path(new_name, dst_dir_fd))
        super().link(name, new_name, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    def unlink(self, name: str, *, dir_fd: int | None = None) -> None:
        self.strike("unlink", _path(name, dir_fd))
        super().unlink(name, dir_fd=dir_fd)

    def status(self, name: str, *, dir_fd: int | None = None) -> os.stat_result:
        self.strike("status", _path(name, dir_fd))
        return super().status(name, dir_fd=dir_fd)

    def status_of(self, fd: int) -> os.stat_result:
        self.strike("status_of", _path("", fd))
        return super().status_of(fd)

    def list_names(self, fd: int, *, at_most: int | None = None) -> list[str]:
        self.strike("list_names", _path("", fd))
        return super().list_names(fd, at_most=at_most)


def _path(name: str, fd: int | None) -> str:
    return name if fd is None else os.path.join(os.readlink(f"/proc/self/fd/{fd}"), name)
