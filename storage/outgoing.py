"""Mail read for an export: which messages, and each with all that is to go with it, in an order that stays.

The order is that of folders by name, and of messages by the base of their names, which do not change; so
the same mail gives the same export.
"""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from fnmatch import fnmatchcase

from storage.directory import Directory
from storage.errors import MailboxMissing
from storage.folders import Layout
from storage.keywords import keywords
from storage.listing import Folder, enter_folder, folders
from storage.mbox import divided
from storage.messages import MessageFile, messages, opened, pieces

_FIELD = re.compile(rb"^([!-9;-~]+)[ \t]*:([^\n]*(?:\n[ \t][^\n]*)*)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message and what belongs to it."""

    folder: Folder
    place: MessageFile
    content: bytes
    keywords: tuple[str, ...]
    arrived_ns: int
    share: float = 0.0  # how much of the folder was read before it, of 1

    @property
    def arrived_s(self) -> int:
        """When it arrived, in whole seconds, which is what IMAP and archives have."""
        return self.arrived_ns // 1_000_000_000

    @property
    def flags(self) -> str:
        """Maildir's own, capitals."""
        return "".join(sorted(set(self.place.flags) & set("DFPRST")))

    @property
    def sender(self) -> bytes:
        """The address of its Return-Path; empty where there is none."""
        values = header_values(self.content, b"return-path")
        return values[0].strip().removeprefix(b"<").removesuffix(b">") if values else b""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which messages go. Whatever is empty or None asks nothing."""

    folders: Sequence[str] = ()  # patterns
    since_s: float | None = None
    before_s: float | None = None
    flags: frozenset[str] = frozenset()  # Maildir's letters, and names of keywords
    without: frozenset[str] = frozenset()
    headers: Sequence[tuple[str, str]] = ()  # a field's name, and a text in one such field, in any case

    def folder_fits(self, name: str) -> bool:
        """Tell whether any message of a folder may go."""
        return not self.folders or any(name == each or fnmatchcase(name, each) for each in self.folders)

    def fits(self, message: Outgoing) -> bool:
        """Tell whether a message goes."""
        has = {*message.flags, *message.keywords}
        return (
            (self.since_s is None or message.arrived_s >= self.since_s)
            and (self.before_s is None or message.arrived_s < self.before_s)
            and self.flags <= has
            and not self.without & has
            and all(_has_header(message.content, name, text) for name, text in self.headers)
        )


def chosen_folders(maildir: Directory, layout: Layout, choice: Choice) -> list[Folder]:
    """Return the folders that fit, in their order. OSError."""
    return sorted((each for each in folders(maildir, layout) if choice.folder_fits(each.name)), key=_by_name)


def outgoing(maildir: Directory, folder: Folder, choice: Choice) -> Iterator[Outgoing]:
    """Read the messages of a folder that fit; what is deleted meanwhile is left out.

    OSError, StorageError.
    """
    directory = enter_folder(maildir, folder)
    names = keywords(directory)
    found = sorted(messages(directory).items())
    for number, (_, place) in enumerate(found):
        with suppress(MailboxMissing):
            message = _read(directory, folder, place, names)
            if choice.fits(message):
                yield replace(message, share=number / len(found))


def header_values(content: bytes, name: bytes) -> list[bytes]:
    """Return the values of a header's fields of this name, as they stand, unfolded."""
    header = divided(content)[0]
    return [
        match[2].replace(b"\r", b"").replace(b"\n", b"")
        for match in _FIELD.finditer(header)
        if match[1].lower() == name.lower()
    ]


def _read(directory: Directory, folder: Folder, place: MessageFile, names: dict[str, str]) -> Outgoing:
    with opened(directory, place) as (now, fd):
        content, status = b"".join(pieces(fd)), os.fstat(fd)
    words = tuple(names[letter] for letter in sorted(set(now.flags)) if letter in names)
    return Outgoing(folder, now, content, words, status.st_mtime_ns)


def _has_header(content: bytes, name: str, text: str) -> bool:
    return any(
        text.casefold() in _decoded(value).casefold()
        for value in header_values(content, name.encode("ascii", "replace"))
    )


def _decoded(value: bytes) -> str:
    """Read a header's text with its encoded words; what cannot be decoded as it stands."""
    text = value.decode("utf-8", "replace").strip()
    try:
        return str(make_header(decode_header(text)))
    except (HeaderParseError, LookupError, ValueError):
        return text


def _by_name(folder: Folder) -> tuple[str, tuple[str, ...]]:
    return folder.name, folder.parts
