"""Exports written: mbox, tar, single messages. The same messages give the same octets.

A file is written beside its place as NAME.part, synced, read again and held against the SHA-256 of what was
written, and only then renamed; so a file of that name is whole, whenever the export was interrupted.
"""

import io
import os
import tarfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from string import ascii_lowercase
from typing import BinaryIO, Protocol

from storage import mbox
from storage.directory import Directory
from storage.disk import Disk
from storage.errors import StorageError
from storage.keywords import NAME as KEYWORDS
from storage.listing import INBOX, PARTS, Folder
from storage.outgoing import Outgoing

SUMS = "SHA256SUMS"
# With ".mbox.part" behind it a name stays below the 255 octets of file systems.
NAME_OCTETS = 240
_CHUNK = 1 << 20
_NOT_IN_A_NAME = str.maketrans({"\0": "_", "\n": "_"})


class Corrupt(StorageError):
    """What was read back is not what was written: a bad disk, or somebody else wrote to it."""


@dataclass(frozen=True, slots=True)
class Written:
    """One file of an export. octets and sha256 are those that were read back, where it is a file."""

    path: str
    octets: int
    sha256: str
    is_verified: bool


class Archive(Protocol):
    """One export under way."""

    def begin(self, folder: Folder, letters: Mapping[str, str]) -> None:
        """Begin a folder, whose messages come next. letters: what its keywords are called. OSError."""

    def add(self, message: Outgoing) -> str:
        """Write a message; return what of it the format cannot keep, "" if it keeps all. OSError."""

    def finish(self) -> Iterator[Written]:
        """Complete it, and yield its files. OSError, Corrupt."""

    def close(self) -> None:
        """Leave nothing half-done behind."""


class Output:
    """A file being written: standard output, or one that appears in its place when it is whole."""

    def __init__(self, path: str) -> None:
        """path: - is standard output. OSError."""
        self._path = path
        self._digest = sha256()
        self._octets = 0
        self._directory: Directory | None = None
        if path == "-":
            self._file: BinaryIO = open(1, "wb", buffering=_CHUNK, closefd=False)  # noqa: SIM115 - close()
            return
        above, self._name = os.path.split(os.path.abspath(path))
        disk = Disk()
        self._directory = Directory(disk, disk.open_directory(above, follow=True))
        with suppress(FileNotFoundError):
            disk.unlink(self._part, dir_fd=self._directory.fd)
        self._file = os.fdopen(disk.create(self._part, dir_fd=self._directory.fd), "r+b", buffering=_CHUNK)

    @property
    def _part(self) -> str:
        return self._name + ".part"

    def write(self, data: bytes) -> int:
        """Write all of data. OSError."""
        self._digest.update(data)
        self._octets += len(data)
        return self._file.write(data)

    def finish(self, *, mtime_s: int | None = None) -> Written:
        """Put it in its place, durable and verified. OSError, Corrupt."""
        self._file.flush()
        if self._directory is None:
            return Written("-", self._octets, self._digest.hexdigest(), is_verified=False)
        disk, fd = self._directory.disk, self._file.fileno()
        if mtime_s is not None:
            os.utime(fd, (mtime_s, mtime_s))
        disk.sync(fd)
        # Let the pages go, so that what is read is what the disk has.
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        self._file.seek(0)
        digest = sha256()
        while piece := self._file.read(_CHUNK):
            digest.update(piece)
        if digest.digest() != self._digest.digest():
            raise Corrupt(f"{self._path}: what was read back is not what was written")
        disk.replace(self._part, self._name, dir_fd=self._directory.fd)
        self._directory.sync()
        return Written(self._path, self._octets, digest.hexdigest(), is_verified=True)

    def close(self) -> None:
        """Close it; what is not whole goes."""
        with suppress(OSError):
            self._file.close()
        if self._directory is not None:
            with suppress(OSError):
                self._directory.disk.unlink(self._part, dir_fd=self._directory.fd)


class MboxArchive:
    """All messages in one mbox, one folder behind the other."""

    def __init__(self, path: str) -> None:
        self._output = Output(path)

    def begin(self, folder: Folder, letters: Mapping[str, str]) -> None:
        """Folders make no difference."""

    def add(self, message: Outgoing) -> str:
        """Write a message, and read it again as `maildir-import` will."""
        wanted = mbox.MboxMessage(
            message.content,
            message.flags,
            message.keywords,
            is_new=message.place.part == "new" and not message.flags,
            arrived_s=max(message.arrived_s, 0),
            offset=0,
        )
        data = mbox.write(wanted, message.sender)
        self._output.write(data)
        return (
            "" if [*mbox.read(data)] == [wanted] else "an mbox cannot hold it as it is: its header is cut off"
        )

    def finish(self) -> Iterator[Written]:
        """Complete it."""
        yield self._output.finish()

    def close(self) -> None:
        """Leave nothing half-done behind."""
        self._output.close()


class MboxTree:
    """A directory with an mbox for each folder: A/B is A/B.mbox, and the INBOX INBOX.mbox."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._boxes: dict[str, MboxArchive] = {}

    def begin(self, folder: Folder, letters: Mapping[str, str]) -> None:  # noqa: ARG002 - names are written
        """Begin a folder's file."""
        path = os.path.join(self._path, *map(_component, folder.name.split("/"))) + ".mbox"
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        self._boxes[folder.name] = MboxArchive(path)

    def add(self, message: Outgoing) -> str:
        """Write a message into its folder's file."""
        return self._boxes[message.folder.name].add(message)

    def finish(self) -> Iterator[Written]:
        """Complete all of them."""
        for box in self._boxes.values():
            yield from box.finish()

    def close(self) -> None:
        """Leave nothing half-done behind."""
        for box in self._boxes.values():
            box.close()


class TarArchive:
    """A tar file that, unpacked, is a Maildir: names with flags, dates, folders, and what keywords mean."""

    def __init__(self, path: str) -> None:
        self._output = Output(path)
        self._tar = tarfile.open(  # noqa: SIM115 - finish() closes it
            fileobj=self._output,  # type: ignore[call-overload]  # it needs write() and nothing else
            mode="w|",
            format=tarfile.PAX_FORMAT,
        )

    def begin(self, folder: Folder, letters: Mapping[str, str]) -> None:
        """Write a folder's directories, and the list of its keywords."""
        parts = folder.parts
        for number in range(1, len(parts) + 1):
            self._put("/".join(parts[:number]), None, 0)
        for part in (*PARTS, "tmp"):
            self._put("/".join((*parts, part)), None, 0)
        if letters:
            lines = (f"{ascii_lowercase.index(letter)} {name}\n" for letter, name in sorted(letters.items()))
            self._put("/".join((*parts, KEYWORDS)), "".join(lines).encode("utf-8", "surrogateescape"), 0)

    def add(self, message: Outgoing) -> str:
        """Write a message under its name."""
        name = "/".join((*message.folder.parts, message.place.part, message.place.name))
        self._put(name, message.content, message.arrived_s)
        return ""

    def finish(self) -> Iterator[Written]:
        """Complete it."""
        self._tar.close()
        yield self._output.finish()

    def close(self) -> None:
        """Leave nothing half-done behind."""
        # Or the stream of a tar that is not finished would end it when it is forgotten.
        self._tar.fileobj.closed = True
        self._output.close()

    def _put(self, name: str, content: bytes | None, mtime_s: int) -> None:
        member = tarfile.TarInfo(name)
        member.mode = 0o700 if content is None else 0o600
        member.mtime = max(mtime_s, 0)
        if content is None:
            member.type = tarfile.DIRTYPE
            self._tar.addfile(member)
        else:
            member.size = len(content)
            self._tar.addfile(member, io.BytesIO(content))


class EmlTree:
    """A directory with a file for each message, in directories for folders, and a list for sha256sum."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._count: Counter[str] = Counter()
        self._sums: list[tuple[str, str]] = []

    def begin(self, folder: Folder, letters: Mapping[str, str]) -> None:
        """Folders make no difference."""

    def add(self, message: Outgoing) -> str:
        """Write a message. Its name is made of its date and its content; flags have no place there."""
        digest = sha256(message.content).hexdigest()
        inside = (
            () if message.folder.name == INBOX else tuple(map(_component, message.folder.name.split("/")))
        )
        stem = "/".join((*inside, f"{max(message.arrived_s, 0):010}-{digest[:16]}"))
        self._count[stem] += 1
        copy = f"-{self._count[stem]}" if self._count[stem] > 1 else ""
        path = os.path.join(self._path, f"{stem}{copy}.eml")
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        self._write(path, message.content, max(message.arrived_s, 0))
        self._sums.append((f"{stem}{copy}.eml", digest))
        return ""

    def finish(self) -> Iterator[Written]:
        """Write the list."""
        os.makedirs(self._path, mode=0o700, exist_ok=True)
        lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(self._sums))
        yield self._write(os.path.join(self._path, SUMS), lines.encode("utf-8", "surrogateescape"), None)

    def close(self) -> None:
        """There is nothing half-done."""

    def _write(self, path: str, content: bytes, mtime_s: int | None) -> Written:
        output = Output(path)
        try:
            output.write(content)
            return output.finish(mtime_s=mtime_s)
        finally:
            output.close()


def _component(name: str) -> str:
    """Make a directory's name of a folder's level; one that is too long keeps its beginning, and a digest."""
    name = name.translate(_NOT_IN_A_NAME) if name not in ("", ".", "..") else "_"
    octets = os.fsencode(name)
    if len(octets) <= NAME_OCTETS:
        return name
    return octets[: NAME_OCTETS - 40].decode("utf-8", "ignore") + sha256(octets).hexdigest()[:16]
