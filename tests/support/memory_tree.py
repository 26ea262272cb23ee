"""The files and directories of `MemoryDisk`, each as it is now and as a power cut would leave it.

The durable state is the least that POSIX promises: a file's data once the file was synced, a name once
its directory was, each by itself. Errors are those of Linux.
"""

import errno
import os
import stat
from collections.abc import Callable
from pathlib import PurePosixPath

from storage.disk import FILE_MODE

NAME_OCTETS = 255


class Node:
    """What a name stands for."""

    def __init__(self, inode: int, now: int) -> None:
        self.inode = inode
        self.ctime_ns = now


class File(Node):
    """A file."""

    def __init__(self, inode: int, now: int) -> None:
        super().__init__(inode, now)
        self.data = b""
        self.durable = b""
        self.lost = False  # a sync failed: the kernel believes the data written

    def sync(self) -> None:
        """Make the data durable, unless a sync has failed before: Linux would say "done", too."""
        if not self.lost:
            self.durable = self.data


class Folder(Node):
    """A directory. One that was removed is still there for who has it open."""

    def __init__(self, inode: int, now: int, parent: "Folder | None") -> None:
        super().__init__(inode, now)
        self.parent = parent or self
        self.removed = False
        self.entries: dict[str, Node] = {}
        self.durable: dict[str, Node] = {}

    def sync(self) -> None:
        """Make the names durable."""
        self.durable = dict(self.entries)


class Tree:
    """A file system. Not for two threads at once."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._inodes = 1
        self.root = Folder(1, clock(), None)

    def new_file(self) -> File:
        """Return a file without a name."""
        self._inodes += 1
        return File(self._inodes, self._clock())

    def new_folder(self, parent: Folder) -> Folder:
        """Return a directory without a name."""
        self._inodes += 1
        return Folder(self._inodes, self._clock(), parent)

    def find(self, name: str, start: Node | None = None) -> Node:
        """Follow a path from start, or from the root."""
        node: Node = start or self.root
        for part in PurePosixPath(name).parts:
            folder = folder_at(node)
            if part in ("/", ".."):
                node = self.root if part == "/" else folder.parent
                continue
            _check_length(part)
            if part not in folder.entries:
                raise error(errno.ENOENT)
            node = folder.entries[part]
        return node

    def place(self, name: str, start: Node | None = None) -> tuple[Folder, str]:
        """Return the directory that a name is in, and the name's last component."""
        path = PurePosixPath(name)
        folder = folder_at(self.find(str(path.parent), start))
        _check_length(path.name)
        return folder, path.name

    def enter(self, folder: Folder, name: str, node: Node) -> None:
        """Give a node a name that must be free."""
        if name in folder.entries:
            raise error(errno.EEXIST)
        if folder.removed:
            raise error(errno.ENOENT)
        folder.entries[name] = node
        folder.ctime_ns = self._clock()
        if isinstance(node, Folder):
            node.parent = folder

    def leave(self, folder: Folder, name: str) -> Node:
        """Take a name away; return what it stood for."""
        if name not in folder.entries:
            raise error(errno.ENOENT)
        folder.ctime_ns = self._clock()
        return folder.entries.pop(name)

    def remove(self, folder: Folder, name: str) -> None:
        """Remove a name and all that is below it, durably."""
        node = self.leave(folder, name)
        folder.durable.pop(name, None)
        if isinstance(node, Folder):
            for child in list(node.entries):
                self.remove(node, child)
            node.removed = True

    def sync(self, folder: Folder | None = None) -> None:
        """Make everything durable."""
        folder = folder or self.root
        folder.sync()
        for node in folder.entries.values():
            if isinstance(node, Folder):
                self.sync(node)
            elif isinstance(node, File):
                node.sync()

    def cut(self, folder: Folder, *, names_kept: bool, data_kept: bool) -> None:
        """Become what a power cut leaves; by choice with the names, or the data, that were not synced."""
        if not names_kept:
            folder.entries = dict(folder.durable)
        folder.durable = dict(folder.entries)
        for node in folder.entries.values():
            if isinstance(node, Folder):
                self.cut(node, names_kept=names_kept, data_kept=data_kept)
            elif isinstance(node, File):
                if not data_kept:
                    node.data = node.durable
                node.durable = node.data
                node.lost = False


def error(number: int) -> OSError:
    """Return the OSError of an errno."""
    return OSError(number, os.strerror(number))


def folder_at(node: Node) -> Folder:
    """Return node as the directory that it must be."""
    if not isinstance(node, Folder):
        raise error(errno.ENOTDIR)
    return node


def status_of(node: Node) -> os.stat_result:
    """Return the part of a stat(2) that storage looks at."""
    kind = stat.S_IFDIR | 0o700 if isinstance(node, Folder) else stat.S_IFREG | FILE_MODE
    size = len(node.data) if isinstance(node, File) else 0
    ns = node.ctime_ns
    whole, exact = (ns // 10**9,) * 3, (ns / 10**9,) * 3
    return os.stat_result((kind, node.inode, 1, 1, 0, 0, size, *whole, *exact, ns, ns, ns))


def _check_length(name: str) -> None:
    if len(os.fsencode(name)) > NAME_OCTETS:
        raise error(errno.ENAMETOOLONG)
