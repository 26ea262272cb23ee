"""One `maildirsize` file, open: read, and appended to."""

from contextlib import suppress
from typing import Self

from storage import maildirsize
from storage.disk import Disk
from storage.maildirsize import Account
from storage.quota_limit import NOTHING, Usage


class SizeFile:
    """An open file. Confined to one thread."""

    __slots__ = ("_disk", "_octets", "account", "fd", "is_certain")

    def __init__(self, disk: Disk, fd: int) -> None:
        """Take over fd and read it."""
        self._disk = disk
        self.fd = fd
        self.is_certain = True
        self.account = self._read()

    def close(self) -> None:
        """Close and unlock it; any number of times.

        Said aloud wherever something may be raised: an exception's traceback keeps its frames' files.
        """
        fd, self.fd = self.fd, -1
        if fd >= 0:
            with suppress(OSError):
                self._disk.close(fd)

    __del__ = close

    def again(self) -> Self:
        """Read it once more: it is locked now, and others may have appended before."""
        self.account = self._read()
        return self

    @property
    def usage(self) -> Usage:
        """What the file says is used."""
        return self.account.usage

    def changed_at(self) -> float:
        """Return when it was last written to."""
        return self._disk.status_of(self.fd).st_mtime

    def is_gone(self) -> bool:
        """Tell whether another file has taken its place."""
        return self._disk.status_of(self.fd).st_nlink == 0

    def enter(self, usage: Usage) -> Usage:
        """Append a line; return what was there above it."""
        data = maildirsize.line(usage)
        end = self._disk.append(self.fd, data)
        between = end - len(data) - self._octets
        if between > 0:
            lines = self._disk.read_at(self.fd, between, self._octets).split(b"\n")
            came = maildirsize.sum_of(lines[:-1])
            return self.usage + (came or NOTHING)
        return self.usage

    def _read(self) -> Account:
        # In one piece: of a file Linux gives less than was asked for at its end only.
        text = self._disk.read_at(self.fd, maildirsize.FILE_OCTETS + 1, 0)
        self._octets = len(text)
        return maildirsize.parse(text)
