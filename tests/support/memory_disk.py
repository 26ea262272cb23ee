# Long because it fakes every call of the disk.
"""A disk in memory that forgets: after a power cut only what was synced is there.

It has the interface of `storage.disk.Disk`, and tests/storage/test_memory_disk.py holds it against the
real one. What it adds is what no real disk tells: which state a cut at this moment leaves behind.

* A file's data is durable once the file was synced, a name once its directory was; each by itself, as
  POSIX promises no more. What was not synced may still have been written: `restart` takes the choice.
* A failed sync of a file is final: what it should have written is lost, and the next sync says "done"
  without writing it, as Linux does.
* The n-th call can fail, or be the last before the power goes.

No links, permissions and locks: tests that need them use the real disk.
"""

import errno
import os
import time
from collections.abc import Callable
from functools import wraps
from threading import RLock
from typing import Concatenate, ParamSpec, TypeVar

from storage.disk import Disk
from storage.thread_rights import Rights
from tests.support.memory_faults import Fault, Faults
from tests.support.memory_tree import File, Folder, Node, Tree, error, folder_at, status_of

P = ParamSpec("P")
R = TypeVar("R")


class _Handle:
    def __init__(self, node: Node, path: str, *, reads: bool, writes: bool) -> None:
        self.node = node
        self.path = path
        self.reads = reads
        self.writes = writes
        self.position = 0


def _counted(
    call: Callable[Concatenate["MemoryDisk", P], R],
) -> Callable[Concatenate["MemoryDisk", P], R]:
    """Enter the call into the log, and let it fail if it is its turn."""
    name = call.__name__.lstrip("_")

    @wraps(call)
    def counted(self: "MemoryDisk", /, *args: P.args, **kwargs: P.kwargs) -> R:
        where = self.describe(args, kwargs)
        if self.on_call is not None:
            self.on_call(name, where)
        with self.lock:
            fault = self.faults.next(name, where)
            if fault is None:
                return call(self, *args, **kwargs)
            if fault.after_effect or (name == "close" and not self.faults.is_off):
                call(self, *args, **kwargs)  # a close that fails closes all the same
            elif name == "sync":
                self.lose(where)
            raise fault.raising

    return counted


class MemoryDisk(Disk):
    """Any thread may use it; `on_call` is called without the lock, and may block."""

    def __init__(self, *, clock: Callable[[], int] = time.time_ns) -> None:
        self.lock = RLock()
        self.faults = Faults()
        self.on_call: Callable[[str, str], None] | None = None
        self.syncs_whole = False  # whether it is a file system that can be synced as a whole
        self.largest_write: int | None = None  # what one write takes at most; None for all
        self._tree = Tree(clock)
        self._handles: dict[int, _Handle] = {}
        self._next_fd = 100  # never used twice, so that no closed one is used by mistake

    # -- the scenery, for tests: durable at once, not in the log

    def make(self, path: str) -> None:
        """Make a directory and those above it."""
        folder = self._tree.root
        for name in path.strip("/").split("/"):
            if name not in folder.entries:
                folder.entries[name] = folder.durable[name] = self._tree.new_folder(folder)
            folder = folder_at(folder.entries[name])

    def put(self, path: str, data: bytes = b"") -> None:
        """Make a file."""
        file = self._tree.new_file()
        file.data = file.durable = data
        folder, name = self._tree.place(path)
        folder.entries[name] = folder.durable[name] = file

    def remove(self, path: str) -> None:
        """Remove a file or a whole directory, as somebody else's `rm -r`."""
        self._tree.remove(*self._tree.place(path))

    def files(self, path: str) -> dict[str, bytes]:
        """Return what every file in a directory holds; nothing for a directory that is not there."""
        try:
            entries = folder_at(self._tree.find(path)).entries
        except FileNotFoundError:
            return {}
        return {name: node.data for name, node in sorted(entries.items()) if isinstance(node, File)}

    def open_handles(self) -> list[str]:
        """Return the paths of what is open."""
        return sorted(handle.path for handle in self._handles.values())

    # -- faults

    @property
    def log(self) -> list[tuple[str, str]]:
        """Every call and where: the directory's path and the name, or the path that was opened."""
        return self.faults.log

    def fail(
        self, at: int, raising: BaseException, *, after_effect: bool = False, for_ever: bool = False
    ) -> None:
        """Let the call that will be the log's at-th (from 1) raise; after_effect: once it has happened."""
        self.faults.plan(at, Fault(raising, after_effect=after_effect, for_ever=for_ever))

    def restart(self, *, names_kept: bool = False, data_kept: bool = False) -> None:
        """Cut the power now, if it is not off, and switch on again.

        Of what was not synced everything is lost, unless the disk had written it all the same: names_kept
        for directories, data_kept for files. Also empties the log and the faults.
        """
        with self.lock:
            self._tree.cut(self._tree.root, names_kept=names_kept, data_kept=data_kept)
            self.kill_process()

    def kill_process(self) -> None:
        """Let the process die, and another begin: the machine runs on, and nothing is lost yet."""
        with self.lock:
            self._handles.clear()
            self.faults.clear()

    def lose(self, where: str) -> None:
        """Take a file's unsynced data for written, as the kernel does after a failed sync."""
        for handle in list(self._handles.values()):
            if handle.path == where and isinstance(handle.node, File):
                handle.node.lost = True

    def describe(self, args: tuple[object, ...], kwargs: dict[str, object]) -> str:
        """Tell where a call happens; of a rename, where to."""
        name: object = args[0]
        if len(args) > 1 and isinstance(args[1], str):
            name = args[1]
        if not isinstance(name, str):
            return self._path_of(name)  # a descriptor
        dir_fd = kwargs.get("dst_dir_fd", kwargs.get("dir_fd"))
        return os.path.normpath(name if dir_fd is None else f"{self._path_of(dir_fd)}/{name}")

    def _path_of(self, fd: object) -> str:
        handle = self._handles.get(fd) if isinstance(fd, int) else None
        return handle.path if handle else "?"

    # -- the calls of Disk

    def acting_as(self, rights: Rights | None) -> "Disk":
        return self

    @_counted
    def open_directory(self, name: str, *, dir_fd: int | None = None, follow: bool = False) -> int:
        return self._open(folder_at(self._find(name, dir_fd)), name, dir_fd, reads=True)

    @_counted
    def open_path(self, name: str, *, dir_fd: int | None = None, follow: bool = False) -> int:
        return self._open(folder_at(self._find(name, dir_fd)), name, dir_fd)

    @_counted
    def make_directory(self, name: str, mode: int, *, dir_fd: int | None = None) -> None:
        folder, last = self._place(name, dir_fd)
        self._tree.enter(folder, last, self._tree.new_folder(folder))

    @_counted
    def create(self, name: str, *, dir_fd: int | None = None) -> int:
        file = self._tree.new_file()
        self._tree.enter(*self._place(name, dir_fd), file)
        return self._open(file, name, dir_fd, reads=True, writes=True)

    @_counted
    def open_file(self, name: str, *, dir_fd: int | None = None) -> int:
        return self._open(self._find(name, dir_fd), name, dir_fd, reads=True)

    @_counted
    def open_to_append(self, name: str, *, dir_fd: int | None = None) -> int:
        return self._open(self._find(name, dir_fd), name, dir_fd, reads=True, writes=True)

    @_counted
    def read_at(self, fd: int, octets: int, offset: int) -> bytes:
        return _file(self._readable(fd).node).data[offset : offset + octets]

    @_counted
    def append(self, fd: int, data: bytes) -> int:
        handle = self._writable(fd)
        handle.position = len(_file(handle.node).data)
        if self._write(handle, data) < len(data):
            raise error(errno.EIO)
        return handle.position

    def lock_shared(self, fd: int) -> None:
        self._readable(fd)  # one process, whose tests do not lock against each other

    def try_lock_alone(self, fd: int) -> bool:
        return bool(self._readable(fd))

    @_counted
    def read(self, fd: int, octets: int) -> bytes:
        handle = self._readable(fd)
        data = _file(handle.node).data[handle.position : handle.position + octets]
        handle.position += len(data)
        return data

    @_counted
    def write(self, fd: int, data: bytes | memoryview) -> int:
        return self._write(self._writable(fd), bytes(data))

    @_counted
    def copy_range(self, src_fd: int, dst_fd: int, *, offset: int, octets: int) -> int:
        source, target = self._readable(src_fd), self._readable(dst_fd)
        data = _file(source.node).data[offset : offset + octets]
        _file(target.node)
        return self._write(self._writable(dst_fd), data)

    @_counted
    def sync(self, fd: int) -> None:
        node = self._readable(fd).node
        assert isinstance(node, File | Folder)
        node.sync()

    def can_sync_file_system(self, fd: int) -> bool:
        return self.syncs_whole

    @_counted
    def sync_file_system(self, fd: int) -> None:
        self._readable(fd)
        self._tree.sync()

    def close(self, fd: int) -> None:
        # A directory is closed when the last reference to it goes. No script of calls should depend on
        # when that is, and there is nothing in it that could fail.
        if isinstance(self._handle(fd).node, Folder):
            del self._handles[fd]
        else:
            self._close(fd)

    @_counted
    def _close(self, fd: int) -> None:
        del self._handles[fd]

    @_counted
    def rename_exclusive(self, name: str, new_name: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        folder, last = self._place(name, src_dir_fd)
        target = self._place(new_name, dst_dir_fd)
        self._tree.enter(*target, self._find(name, src_dir_fd))
        self._tree.leave(folder, last)

    @_counted
    def link(self, name: str, new_name: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        node = self._find(name, src_dir_fd)
        folder, last = self._place(new_name, dst_dir_fd)
        if isinstance(node, Folder):
            raise error(errno.EEXIST if last in folder.entries else errno.EPERM)
        self._tree.enter(folder, last, node)

    @_counted
    def replace(self, name: str, new_name: str, *, dir_fd: int, src_dir_fd: int | None = None) -> None:
        src_dir_fd = dir_fd if src_dir_fd is None else src_dir_fd
        folder, last = self._place(name, src_dir_fd)
        target, new_last = self._place(new_name, dir_fd)
        node = self._find(name, src_dir_fd)
        if isinstance(target.entries.get(new_last), Folder):
            raise error(errno.EISDIR)
        self._tree.leave(folder, last)
        target.entries[new_last] = node

    @_counted
    def unlink(self, name: str, *, dir_fd: int | None = None) -> None:
        if isinstance(self._find(name, dir_fd), Folder):
            raise error(errno.EISDIR)
        self._tree.leave(*self._place(name, dir_fd))

    @_counted
    def status(self, name: str, *, dir_fd: int | None = None) -> os.stat_result:
        return status_of(self._find(name, dir_fd))

    @_counted
    def may_add(self, *, dir_fd: int) -> None:
        self._handle(dir_fd)  # everybody may do everything here

    @_counted
    def status_of(self, fd: int) -> os.stat_result:
        return status_of(self._handle(fd).node)

    @_counted
    def file_system(self, path: str) -> os.statvfs_result:
        folder_at(self._find(path, None))
        return os.statvfs_result((4096, 4096, 1 << 20, 1 << 19, 1 << 19, 1 << 20, 1 << 19, 1 << 19, 0, 255))

    @_counted
    def list_names(self, fd: int, *, at_most: int | None = None) -> list[str]:
        return list(folder_at(self._readable(fd).node).entries)[:at_most]

    # -- below

    def _find(self, name: str, dir_fd: int | None) -> Node:
        return self._tree.find(name, None if dir_fd is None else self._handle(dir_fd).node)

    def _place(self, name: str, dir_fd: int | None) -> tuple[Folder, str]:
        return self._tree.place(name, None if dir_fd is None else self._handle(dir_fd).node)

    def _open(
        self, node: Node, name: str, dir_fd: int | None, *, reads: bool = False, writes: bool = False
    ) -> int:
        base = "" if dir_fd is None else self._handles[dir_fd].path + "/"
        self._next_fd += 1
        path = os.path.normpath(base + name)
        self._handles[self._next_fd] = _Handle(node, path, reads=reads, writes=writes)
        return self._next_fd

    def _handle(self, fd: int) -> _Handle:
        if fd not in self._handles:
            raise error(errno.EBADF)
        return self._handles[fd]

    def _readable(self, fd: int) -> _Handle:
        handle = self._handle(fd)
        if not handle.reads:
            raise error(errno.EBADF)
        return handle

    def _writable(self, fd: int) -> _Handle:
        handle = self._handle(fd)
        if not handle.writes:
            raise error(errno.EBADF)
        return handle

    def _write(self, handle: _Handle, data: bytes) -> int:
        file = _file(handle.node)
        data = data[: self.largest_write]
        end = handle.position + len(data)
        file.data = file.data[: handle.position] + data + file.data[end:]
        handle.position = end
        return len(data)


def _file(node: Node) -> File:
    if not isinstance(node, File):
        raise error(errno.EISDIR)
    return node
