"""Messages that are there more than once: found, and which of them stays.

The same is what has the same octets; or the same octets but for the fields at the top that deliveries add
(Return-Path, Delivered-To, X-Original-To, Received), so that a message that came twice is one; or the same
Message-ID, which a copy from a mailing list shares with the original.
"""

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from hashlib import sha256

from storage.contents import digest_of
from storage.directory import Directory
from storage.errors import MailboxMissing
from storage.listing import Folder, enter_folder
from storage.messages import MessageFile, locate, messages, opened, pieces

# A header is not read further than this; a Message-ID behind it is none.
HEADER_OCTETS = 1 << 18

_TRACE = re.compile(
    rb"(?:(?:return-path|delivered-to|x-original-to|received)[ \t]*:[^\n]*\n(?:[ \t][^\n]*\n)*)+",
    re.IGNORECASE,
)
_MESSAGE_ID = re.compile(rb"^message-id[ \t]*:\s*(<[^<>\n]+>)", re.IGNORECASE | re.MULTILINE)
_HEADER_END = re.compile(rb"\n\r?\n")


class Sameness(Enum):
    """What makes two messages the same."""

    CONTENT = "content"
    MAIL = "mail"  # the content but for what deliveries add
    MESSAGE_ID = "message-id"


@dataclass(frozen=True, slots=True)
class Copy:
    """One message, as it was looked at."""

    folder: Folder
    message: MessageFile
    octets: int
    arrived_ns: int
    identity: tuple[int, int]  # device and inode

    def is_file(self, status: os.stat_result) -> bool:
        """Tell whether this is the file that was looked at; an inode's number alone is soon used again."""
        return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns) == (
            *self.identity,
            self.octets,
            self.arrived_ns,
        )

    @property
    def order(self) -> tuple[bool, int, str, str]:
        """What stays comes first: not marked as deleted, the oldest; the same in every run."""
        return "T" in self.message.flags, self.arrived_ns, self.folder.name, self.message.base


@dataclass(frozen=True, slots=True)
class Group:
    """Messages that are the same. The first one stays."""

    key: str
    copies: tuple[Copy, ...]

    @property
    def kept(self) -> Copy:
        """The one that stays."""
        return self.copies[0]

    @property
    def surplus(self) -> tuple[Copy, ...]:
        """The others."""
        return self.copies[1:]

    @property
    def flags_to_add(self) -> str:
        """What the one that stays must be marked with, so that nothing is forgotten of the others.

        Not that it is deleted or a draft: the one that stays knows that of itself. Keywords are letters of a
        folder, so they count where it is the same.
        """
        flags: set[str] = set()
        for copy in self.surplus:
            same_folder = copy.folder == self.kept.folder
            flags |= {
                flag for flag in copy.message.flags if flag in "FPRS" or (flag.islower() and same_folder)
            }
        return "".join(sorted(flags - set(self.kept.message.flags)))


def copies_in(maildir: Directory, folder: Folder) -> Iterator[Copy]:
    """Look at every message of a folder. OSError."""
    directory = enter_folder(maildir, folder)
    for message in messages(directory).values():
        with suppress(MailboxMissing):
            place, status = locate(directory, message)
            yield Copy(folder, place, status.st_size, status.st_mtime_ns, (status.st_dev, status.st_ino))


def groups(maildir: Directory, copies: Iterable[Copy], sameness: Sameness) -> list[Group]:
    """Find the messages that are there more than once, in an order that stays. OSError, StorageError."""
    by_key: defaultdict[str, list[Copy]] = defaultdict(list)
    for copy in _candidates(copies, sameness):
        with suppress(MailboxMissing):
            key = _key(enter_folder(maildir, copy.folder), copy.message, sameness)
            if key is not None:
                by_key[key].append(copy)
    found = [
        Group(key, tuple(sorted(same, key=lambda copy: copy.order)))
        for key, same in by_key.items()
        if len(same) > 1
    ]
    return sorted(found, key=lambda group: group.kept.order)


def mail_of(content: bytes) -> bytes:
    """Return a message without what deliveries put on top of it."""
    match = _TRACE.match(content)
    return content[match.end() :] if match else content


def message_id(header: bytes) -> str | None:
    """Return the Message-ID; None where there is none."""
    end = _HEADER_END.search(header)
    match = _MESSAGE_ID.search(header, 0, end.start() + 1 if end else len(header))
    return match[1].decode("utf-8", "backslashreplace") if match else None


def _candidates(copies: Iterable[Copy], sameness: Sameness) -> Iterator[Copy]:
    """Leave out what cannot have a copy, unread: there is nothing of its size."""
    if sameness is not Sameness.CONTENT:
        yield from copies
        return
    by_octets: defaultdict[int, list[Copy]] = defaultdict(list)
    for copy in copies:
        by_octets[copy.octets].append(copy)
    for same in by_octets.values():
        if len(same) > 1:
            yield from same


def _key(folder: Directory, message: MessageFile, sameness: Sameness) -> str | None:
    if sameness is Sameness.CONTENT:
        return digest_of(folder, message).hex()
    with opened(folder, message) as (_, fd):
        if sameness is Sameness.MESSAGE_ID:
            return message_id(os.read(fd, HEADER_OCTETS))
        return sha256(mail_of(b"".join(pieces(fd)))).hexdigest()
