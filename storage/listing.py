"""What is in a Maildir: its folders, and the messages' names, quickly and without following links.

Everything is reached through open directories (`storage.directory`). Listings come as they are read, so a
folder with a million messages needs no memory.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from storage.directory import Directory
from storage.folders import (
    LEVELS,
    FolderNameError,
    FolderNames,
    Layout,
    decode_utf7,
    folder_of_name,
    folder_parts,
)

INBOX = "INBOX"
# The directories of a Maildir that hold messages.
PARTS = ("new", "cur")


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder that exists."""

    name: str  # as people see it, "A/B"; a directory whose name is no folder's, as it stands there
    parts: tuple[str, ...]  # the directories below the Maildir; none for the INBOX
    is_canonical: bool = True  # the name on disk is the one that this name has


def folders(maildir: Directory, layout: Layout) -> Iterator[Folder]:
    """Yield the INBOX and every folder, in the order of their directories. OSError."""
    yield Folder(INBOX, ())
    if layout is Layout.MAILDIRPP:
        yield from _in_maildirpp(maildir)
    else:
        yield from _in_fs(maildir, ())


def enter_folder(maildir: Directory, folder: Folder) -> Directory:
    """Open a folder's directory; a link on the way is refused. OSError."""
    for part in folder.parts:
        maildir = maildir.enter(part)
    return maildir


def entries(folder: Directory, part: str) -> Iterator[os.DirEntry[str]]:
    """Yield what lies in new/, cur/ or tmp/ of a folder, in the order of the disk. OSError.

    Nothing where the directory is missing. An entry's stat() follows links unless told not to.
    """
    try:
        directory = folder.enter(part)
    except FileNotFoundError:
        return
    with os.scandir(directory.fd) as listed:
        yield from listed


def partless(maildir: Directory) -> Iterator[Folder]:
    """Yield what has the name of a Maildir++ folder, and no directory for messages. OSError."""
    for name in _named_as_folders(maildir):
        folder = folder_of_name(name)
        if folder is not None and not _has_messages(maildir, name):
            yield Folder(folder, (name,))


def _named_as_folders(maildir: Directory) -> Iterator[str]:
    for name in _directories(maildir):
        # Two dots: what Dovecot is about to delete.
        if name.startswith(".") and not name.startswith(".."):
            yield name


def _in_maildirpp(maildir: Directory) -> Iterator[Folder]:
    for name in _named_as_folders(maildir):
        if not _has_messages(maildir, name):
            continue
        # Each in its own way: what is no modified UTF-7 may be plain UTF-8, as Courier has it.
        folder = folder_of_name(name) or folder_of_name(name, names=FolderNames.UTF8)
        yield Folder(folder or name, (name,), folder is not None)


def _in_fs(directory: Directory, above: tuple[str, ...]) -> Iterator[Folder]:
    if len(above) >= LEVELS:
        return
    for name in _directories(directory):
        if name.startswith(".") or name in (*PARTS, "tmp"):
            continue
        parts = (*above, name)
        below = directory.enter(name)
        if _has_messages(directory, name):
            yield _in_fs_named(parts)
        yield from _in_fs(below, parts)


def _in_fs_named(parts: tuple[str, ...]) -> Folder:
    with suppress(FolderNameError):
        name = "/".join(decode_utf7(part) for part in parts)
        if folder_parts(Layout.FS, name) == parts:
            return Folder(name, parts)
    with suppress(FolderNameError):
        if folder_parts(Layout.FS, "/".join(parts), names=FolderNames.UTF8) == parts:
            return Folder("/".join(parts), parts)
    return Folder("/".join(parts), parts, is_canonical=False)


def _directories(directory: Directory) -> list[str]:
    with os.scandir(directory.fd) as listed:
        return sorted(entry.name for entry in listed if entry.is_dir(follow_symlinks=False))


def _has_messages(directory: Directory, name: str) -> bool:
    """Tell whether a directory is a Maildir, if only in part."""
    for part in (*PARTS, "tmp"):
        with suppress(OSError):
            directory.disk.status(f"{name}/{part}", dir_fd=directory.fd)
            return True
    return False
