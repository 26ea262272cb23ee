"""Mail as other programs keep it, read for an import: mbox files, single messages, Maildirs, trees of them.

What is what is seen from the contents. A directory with new/ or cur/ is a Maildir, with its folders in
Maildir++ or in each other, as Dovecot and Courier have them; any other one is a tree of mbox files, each a
folder, and of .eml files. No link below the given path is followed.
"""

import mmap
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import Enum
from stat import S_ISDIR, S_ISREG

from storage import mbox
from storage.directory import Directory
from storage.disk import Disk
from storage.errors import StorageError
from storage.folders import Layout
from storage.keywords import courier_keywords, keywords
from storage.listing import INBOX, PARTS, Folder, enter_folder, folders
from storage.messages import MessageFile, messages, opened, pieces

# Levels of directories in a tree of mbox files.
LEVELS = 20

_SECOND = 1_000_000_000
# Any printable character may be in a field's name (RFC 5322 3.6.8); nobody uses others, and files of text do.
_FIELD = re.compile(rb"[A-Za-z0-9_-]+[ \t]*:")
# Many a file of text begins like a field, "root:x:0:0" say; a message has one of these.
_HEADER_OCTETS = 1 << 16
_OF_MAIL = re.compile(
    rb"^(?:from|to|cc|bcc|sender|reply-to|date|subject|received|return-path|delivered-to|message-id|"
    rb"in-reply-to|references|mime-version|content-[a-z-]+|resent-[a-z-]+|list-[a-z-]+|x-[a-z-]+)[ \t]*:",
    re.IGNORECASE | re.MULTILINE,
)
_MBOX = re.compile(rb"[\r\n]*From ")
_RECEIVED = re.compile(rb"^received[ \t]*:([^\n]*(?:\n[ \t][^\n]*)*)", re.IGNORECASE | re.MULTILINE)
_DATE = re.compile(rb"^date[ \t]*:([^\n]*(?:\n[ \t][^\n]*)*)", re.IGNORECASE | re.MULTILINE)


class Dates(Enum):
    """When a message that is a file of its own has arrived."""

    HEADER = "header"  # its topmost Received, else its Date, else the file's
    FILE = "file"  # the file's modification time


@dataclass(frozen=True, slots=True)
class Reading:
    """How sources are read where that cannot be seen from them."""

    quoting: mbox.Quoting = mbox.Quoting.RD
    dates: Dates = Dates.HEADER


@dataclass(frozen=True, slots=True)
class Incoming:
    """One message that was read."""

    origin: str  # where from, for reports
    folder: str  # below the source, "A/B"; INBOX for its top
    content: bytes
    flags: str  # Maildir's capitals
    keywords: tuple[str, ...]
    is_new: bool
    arrived_ns: int
    share: float = 0.0  # how much of the source had been read before it, of 1; 0 where that cannot be told


@dataclass(frozen=True, slots=True)
class Beginning:
    """A folder whose messages come next, if it has any."""

    folder: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Something that was passed over."""

    origin: str
    why: str


Item = Beginning | Incoming | Unreadable


class Source:
    """An open source. Close it."""

    def __init__(self, path: str, fd: int) -> None:
        """Take over fd."""
        self.path = path
        self.fd = fd
        self.status = os.fstat(fd)

    @classmethod
    def open(cls, path: str, name: str = "") -> "Source":
        """Open what the administrator names: links in the path itself are followed. OSError.

        name: what reports call it, if not by its path.
        """
        return cls(name or path, os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK))

    def close(self) -> None:
        """Close it."""
        os.close(self.fd)

    def read(self, reading: Reading) -> Iterator[Item]:
        """Read all of it, with the rights of the process at each step. OSError for the top of a directory."""
        if not S_ISDIR(self.status.st_mode):
            try:
                with _mapped(self.fd) as data:
                    yield from _in_file(self.path, INBOX, data, self.status, reading)
            except OSError as exc:
                yield Unreadable(self.path, _why(exc))
            return
        directory = Directory(Disk(), os.dup(self.fd))
        if any(_is_there(directory, part) for part in PARTS):
            yield from _in_maildir(self.path, directory)
        else:
            yield from _in_tree(self.path, directory, (), reading)


def _in_maildir(path: str, maildir: Directory) -> Iterator[Item]:
    found = {folder.parts: folder for layout in Layout for folder in folders(maildir, layout)}
    for number, folder in enumerate(found.values()):
        origin = "/".join((path, *folder.parts))
        try:
            for item in _in_folder(origin, _name_of(folder), enter_folder(maildir, folder)):
                yield _placed(item, number, len(found))
        except (OSError, StorageError) as exc:
            yield Unreadable(origin, _why(exc))


def _placed(item: Item, number: int, of: int) -> Item:
    """Say how much of the source, not of the folder alone, had been read before a message."""
    return replace(item, share=(number + item.share) / of) if isinstance(item, Incoming) else item


def _name_of(folder: Folder) -> str:
    """Name a folder; newer Couriers write UTF-8 where the others write modified UTF-7."""
    if folder.is_canonical or len(folder.parts) != 1 or not folder.parts[0].startswith("."):
        return folder.name
    return folder.parts[0][1:].replace(".", "/")


def _in_folder(path: str, name: str, folder: Directory) -> Iterator[Item]:
    yield Beginning(name)
    letters = keywords(folder)
    couriers = courier_keywords(folder)
    found = messages(folder)
    for number, base in enumerate(sorted(found)):
        try:
            with opened(folder, found[base]) as (place, fd):
                content, status = b"".join(pieces(fd)), os.fstat(fd)
        except (OSError, StorageError) as exc:
            yield Unreadable(f"{path}/{found[base].part}/{found[base].name}", _why(exc))
            continue
        words = [letters[letter] for letter in place.flags if letter in letters]
        yield Incoming(
            origin=f"{path}/{place.part}/{place.name}",
            folder=name,
            content=content,
            flags=_capitals(place),
            keywords=(*words, *couriers.get(base, ())),
            is_new=place.part == "new",
            arrived_ns=status.st_mtime_ns,
            share=number / len(found),
        )


def _capitals(place: MessageFile) -> str:
    return "".join(letter for letter in place.flags if letter in "DFPRST")


def _in_tree(path: str, directory: Directory, parts: tuple[str, ...], reading: Reading) -> Iterator[Item]:
    with os.scandir(directory.fd) as listed:
        # Files first, so that a folder's messages come in one piece.
        names = sorted(
            (entry.is_dir(follow_symlinks=False), entry.name) for entry in listed if entry.name[0] != "."
        )
    for _, name in names:
        origin = f"{path}/{name}"
        try:
            status = directory.disk.status(name, dir_fd=directory.fd)
            if S_ISDIR(status.st_mode):
                if len(parts) < LEVELS:
                    yield from _in_tree(origin, directory.enter(name), (*parts, _bare(name)), reading)
                continue
            fd = directory.disk.open_file(name, dir_fd=directory.fd)
        except OSError as exc:
            yield Unreadable(origin, _why(exc))
            continue
        try:
            with _mapped(fd) as data:
                folder = "/".join(parts) if name.lower().endswith(".eml") else "/".join((*parts, _bare(name)))
                if len(data) == 0 and not name.lower().endswith(".eml"):
                    yield Beginning(folder)  # an mbox without messages
                elif not _MBOX.match(data) and not name.lower().endswith(".eml"):
                    yield Unreadable(origin, "neither an mbox nor called .eml")
                else:
                    yield from _in_file(origin, folder or INBOX, data, os.fstat(fd), reading)
        except OSError as exc:
            yield Unreadable(origin, _why(exc))
        finally:
            os.close(fd)


def _in_file(
    origin: str, folder: str, data: bytes | mmap.mmap, status: os.stat_result, reading: Reading
) -> Iterator[Item]:
    if len(data) and not _MBOX.match(data):
        if (
            _FIELD.match(data) is None
            or _OF_MAIL.search(mbox.divided(bytes(data[:_HEADER_OCTETS]))[0]) is None
        ):
            yield Unreadable(origin, "it does not begin as a message does")
            return
        yield _single(origin, folder, bytes(data), status, reading)
        return
    for message in mbox.read(data, reading.quoting):
        seconds = _in_header(message.content) if message.arrived_s is None else message.arrived_s
        yield Incoming(
            origin=f"{origin}, octet {message.offset}",
            folder=folder,
            content=message.content,
            flags=message.flags,
            keywords=message.keywords,
            is_new=message.is_new,
            arrived_ns=status.st_mtime_ns if seconds is None else seconds * _SECOND,
            share=message.offset / len(data),
        )


def _single(origin: str, folder: str, content: bytes, status: os.stat_result, reading: Reading) -> Incoming:
    """Read a message that is a file of its own; CRLF becomes LF, as with a delivery."""
    content = content.replace(b"\r\n", b"\n")
    seconds = _in_header(content) if reading.dates is Dates.HEADER else None
    arrived_ns = status.st_mtime_ns if seconds is None else seconds * _SECOND
    return Incoming(origin, folder, content, flags="", keywords=(), is_new=False, arrived_ns=arrived_ns)


def _in_header(content: bytes) -> int | None:
    """Return when a message arrived, in seconds since 1970, as its header has it."""
    header = mbox.divided(content)[0]
    received, date = _RECEIVED.search(header), _DATE.search(header)
    for text in (received and received[1].rpartition(b";")[2], date and date[1]):
        if text:
            with suppress(ValueError, OverflowError, IndexError, TypeError):
                when = parsedate_to_datetime(text.decode("ascii", "replace").strip())
                return max(int(when.replace(tzinfo=when.tzinfo or UTC).timestamp()), 0)
    return None


def _bare(name: str) -> str:
    """Take off what programs append to the names of mbox files and their directories."""
    bare = re.sub(r"\.(mbox|mbx|sbd)$", "", name, flags=re.IGNORECASE)
    return INBOX if bare.upper() == INBOX else bare


@contextmanager
def _mapped(fd: int) -> Iterator[bytes | mmap.mmap]:
    """Map a file into memory: an mbox may be larger than that. Anything but a file is refused (OSError)."""
    status = os.fstat(fd)
    if not S_ISREG(status.st_mode):
        raise OSError(0, "not a file")
    if status.st_size == 0:
        yield b""
        return
    with mmap.mmap(fd, 0, access=mmap.ACCESS_READ) as data:
        yield data


def _is_there(directory: Directory, name: str) -> bool:
    with suppress(OSError):
        directory.disk.status(name, dir_fd=directory.fd)
        return True
    return False


def _why(exc: OSError | StorageError) -> str:
    return exc.strerror or str(exc) if isinstance(exc, OSError) else str(exc)
