"""The messages of a folder as files: listed, opened, and followed when a mail reader renames them meanwhile.

A message is known by its base name: a reader moves it from new/ to cur/ and changes what stands behind the
":2,", never the base (cr.yp.to/proto/maildir.html). Only regular files are messages; a link is none.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from stat import S_ISREG

from storage.directory import Directory
from storage.errors import MailboxMissing, MailboxUnusable
from storage.listing import PARTS, entries
from storage.names import base_of

_CHUNK = 1 << 18
_SECONDS = re.compile(r"([0-9]{9,11})\.")
_OCTETS = re.compile(r",S=([0-9]{1,18})(?=[,:]|$)")
_INFO = ":2,"
# A reader that renames a message twice while it is looked for is no accident; then it is reported.
_TRIES = 4


@dataclass(frozen=True, slots=True)
class MessageFile:
    """A message's place in a folder."""

    part: str  # "new" or "cur"
    name: str

    @property
    def base(self) -> str:
        """What does not change: the name without flags."""
        return base_of(self.name)

    @property
    def flags(self) -> str:
        """The letters behind ":2,": capitals are Maildir's own, small ones keywords of the folder."""
        return self.name.partition(_INFO)[2]

    @property
    def saved_s(self) -> int | None:
        """When it came into this folder, by its name; None if its name does not say."""
        match = _SECONDS.match(self.name)
        return int(match[1]) if match else None

    @property
    def named_octets(self) -> int | None:
        """Its size as its name has it."""
        match = _OCTETS.search(self.name)
        return int(match[1]) if match else None

    def with_flags(self, flags: str) -> "MessageFile":
        """Return its place under other flags; with flags it is in cur/."""
        letters = "".join(sorted(set(flags)))
        return MessageFile("cur", self.base + _INFO + letters) if letters or self.part == "cur" else self


def messages(folder: Directory) -> dict[str, MessageFile]:
    """Return a folder's messages by base name. OSError.

    Two looks: one alone may miss a file that is renamed while the directory is read.
    """
    found: dict[str, MessageFile] = {}
    for _ in range(2):
        for part in PARTS:
            for entry in entries(folder, part):
                if entry.is_file(follow_symlinks=False) and not entry.name.startswith("."):
                    found[base_of(entry.name)] = MessageFile(part, entry.name)
    return found


def locate(folder: Directory, message: MessageFile) -> tuple[MessageFile, os.stat_result]:
    """Return where a message is now, and its status. MailboxMissing: it has gone; OSError."""
    for _ in range(_TRIES):
        with suppress(FileNotFoundError):
            part = folder.enter(message.part)
            return message, folder.disk.status(message.name, dir_fd=part.fd)
        message = _again(folder, message.base)
    raise MailboxMissing(f"{message.name}: it is renamed again and again")


@contextmanager
def opened(folder: Directory, message: MessageFile) -> Iterator[tuple[MessageFile, int]]:
    """Open a message for reading, wherever it is now. MailboxMissing, MailboxUnusable, OSError."""
    place, fd = _open(folder, message)
    try:
        if not S_ISREG(os.fstat(fd).st_mode):
            raise MailboxUnusable(f"{place.part}/{place.name} is not a file")
        yield place, fd
    finally:
        folder.disk.close(fd)


def pieces(fd: int) -> Iterator[bytes]:
    """Read an open file to its end. OSError."""
    while piece := os.read(fd, _CHUNK):
        yield piece


def _open(folder: Directory, message: MessageFile) -> tuple[MessageFile, int]:
    for _ in range(_TRIES):
        with suppress(FileNotFoundError):
            # Through the open directory of its part: a link in the place of new/ or cur/ is refused.
            part = folder.enter(message.part)
            return message, folder.disk.open_file(message.name, dir_fd=part.fd)
        message = _again(folder, message.base)
    raise MailboxMissing(f"{message.name}: it is renamed again and again")


def _again(folder: Directory, base: str) -> MessageFile:
    for part in PARTS:
        for entry in entries(folder, part):
            if base_of(entry.name) == base:
                return MessageFile(part, entry.name)
    raise MailboxMissing(f"{base} has gone")
