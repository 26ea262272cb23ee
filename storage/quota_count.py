"""Counting what is in a mailbox: its INBOX and all its folders, new/ and cur/ of each.

Sizes come from the S= of the names, so a message is opened or looked at only where its name has none.
Links are not followed, and count for nothing: what is behind one is not in the mailbox.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from stat import S_ISREG

from storage.directory import Directory
from storage.errors import MailboxMissing, from_oserror
from storage.folders import LEVELS, FolderNameError, FolderNames, Layout, decode_utf7
from storage.quota_limit import Usage

_SIZE_IN_NAME = re.compile(r",S=([0-9]{1,18})(?=[,:]|$)")
_TRASHED = re.compile(r":2,[A-Za-z]*T")
_PARTS = ("new", "cur", "tmp")


@dataclass(frozen=True, slots=True)
class Counting:
    """Which messages count.

    Courier counts neither the folder Trash nor messages that are marked as deleted (T), Dovecot counts
    both.
    """

    layout: Layout = Layout.MAILDIRPP
    ignored: frozenset[str] = frozenset()  # folders as people see them, "Archive/2020"
    counts_trashed: bool = True
    names: FolderNames = FolderNames.UTF7


@dataclass(frozen=True, slots=True)
class Counted:
    """What was found, and when the directories had last changed before they were read."""

    usage: Usage
    changes: tuple[int, ...]


def count(inbox: Directory, counting: Counting) -> Counted:
    """Count the mailbox. Raise OSError."""
    octets = messages = 0
    changes: list[int] = []
    for folder in _folders(inbox, counting):
        for name in ("new", "cur"):
            directory = _enter(folder, name)
            if directory is not None:
                changes.append(directory.disk.status_of(directory.fd).st_mtime_ns)
                some = _in_directory(directory, counting)
                octets, messages = octets + some.octets, messages + some.messages
    return Counted(Usage(octets, messages), tuple(changes))


def has_changed(inbox: Directory, counting: Counting, counted: Counted) -> bool:
    """Tell whether messages came, went or were renamed since they were counted. Raise OSError."""
    changes = []
    for folder in _folders(inbox, counting):
        for name in ("new", "cur"):
            directory = _enter(folder, name)
            if directory is not None:
                changes.append(directory.disk.status_of(directory.fd).st_mtime_ns)
    return tuple(changes) != counted.changes


def _folders(inbox: Directory, counting: Counting) -> Iterator[Directory]:
    """Yield the directories of INBOX and of all folders that count, in one order."""
    yield inbox
    if counting.layout is Layout.FS:
        yield from _below(inbox, counting, "", 0)
        return
    for name in sorted(inbox.disk.list_names(inbox.fd)):
        if name[0] != "." or _is_ignored(name[1:].split("."), counting):
            continue
        if (folder := _enter(inbox, name)) is not None:
            yield folder


def _below(parent: Directory, counting: Counting, path: str, level: int) -> Iterator[Directory]:
    for name in sorted(parent.disk.list_names(parent.fd)):
        if name[0] == "." or name in _PARTS or level >= LEVELS:
            continue
        folder = _enter(parent, name)
        if folder is None:
            continue
        here = f"{path}/{name}" if path else name
        if not _is_ignored(here.split("/"), counting):
            yield folder
        yield from _below(folder, counting, here, level + 1)


def _is_ignored(names: list[str], counting: Counting) -> bool:
    if not counting.ignored:
        return False
    try:
        decode = decode_utf7 if counting.names is FolderNames.UTF7 else str
        return "/".join(map(decode, names)) in counting.ignored
    except FolderNameError:
        return False  # somebody else's way to write names; what is in it takes room


def _enter(parent: Directory, name: str) -> Directory | None:
    """Open a directory; None for what is none, or has gone."""
    try:
        return parent.enter(name)
    except NotADirectoryError:
        return None
    except OSError as exc:
        if isinstance(from_oserror(exc), MailboxMissing):
            return None
        raise


def _in_directory(directory: Directory, counting: Counting) -> Usage:
    octets = messages = 0
    for name in directory.disk.list_names(directory.fd):
        if name[0] == "." or (not counting.counts_trashed and _TRASHED.search(name)):
            continue
        match = _SIZE_IN_NAME.search(name)
        if match is not None:
            octets += int(match[1])
        elif (size := _size_of(directory, name)) is not None:
            octets += size
        else:
            continue
        messages += 1
    return Usage(octets, messages)


def _size_of(directory: Directory, name: str) -> int | None:
    """Look at a message without S=; None if it has gone, or is none."""
    try:
        status = directory.disk.status(name, dir_fd=directory.fd)
    except FileNotFoundError:
        return None
    return status.st_size if S_ISREG(status.st_mode) else None
