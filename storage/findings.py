"""What a check of a Maildir finds, and what would mend it: values; `storage.repairs` does the deeds."""

from dataclasses import dataclass
from enum import Enum


class Weight(Enum):
    """What a finding means."""

    FAULT = "fault"  # some program may lose, hide or misread mail for it
    NOTE = "note"  # worth knowing, and no harm


@dataclass(frozen=True, slots=True)
class Place:
    """Where something lies in a Maildir."""

    folder: tuple[str, ...]  # the folder's directories below the Maildir; none for the INBOX
    part: str  # "new", "cur", "tmp", or "" for the folder's own directory
    name: str  # "" for that directory itself


@dataclass(frozen=True, slots=True)
class Rename:
    """Give a message another name, or move it between the directories of its folder; its UID stays."""

    part: str
    name: str


@dataclass(frozen=True, slots=True)
class SetMode:
    """Give a file or directory these rights."""

    mode: int


@dataclass(frozen=True, slots=True)
class SetOwner:
    """Give a file or directory to the Maildir's owner; for root only."""

    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class MakeDirectory:
    """Make a directory that is missing."""

    mode: int


@dataclass(frozen=True, slots=True)
class MakeFile:
    """Make a small file that is missing, or write another content over it."""

    content: bytes
    instead_of: bytes | None = None  # what must still be there; None: no file


@dataclass(frozen=True, slots=True)
class RemoveFile:
    """Remove a small file that is no message."""


Fix = Rename | SetMode | SetOwner | MakeDirectory | MakeFile | RemoveFile


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be."""

    kind: str  # one word of the table in docs/maildirs.md
    place: Place
    text: str
    weight: Weight = Weight.FAULT
    fix: Fix | None = None  # None: nothing that a program should decide


@dataclass(frozen=True, slots=True)
class Looked:
    """So many messages were looked at since the last word."""

    messages: int
