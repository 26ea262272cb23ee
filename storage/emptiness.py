"""Folders without a message, and whether anybody would miss them."""

import os
from collections.abc import Iterator
from contextlib import suppress

from storage.directory import Directory
from storage.folders import Layout
from storage.listing import INBOX, PARTS, Folder, enter_folder, entries, folders, partless
from storage.removal import is_known
from storage.subscriptions import subscribed


def empty_folders(maildir: Directory, layout: Layout, *, before: float) -> Iterator[tuple[Folder, str]]:
    """Yield the folders without a message, the deepest first, each with why it must stay; "" means it may go.

    before: when new/ and cur/ must have changed for the last time, in seconds since 1970. OSError,
    StorageError for a list of subscriptions that cannot be read.
    """
    wanted = subscribed(maildir, layout)
    found = [*folders(maildir, layout), *_remains(maildir, layout)]
    names = {folder.name for folder in found}
    for folder in sorted(found, key=lambda each: (-each.name.count("/"), each.name)):
        if folder.name == INBOX:
            continue
        directory = enter_folder(maildir, folder)
        if not all(_is_empty(directory, part) for part in (*PARTS, "tmp")):
            continue
        why = ""
        if folder.name in wanted:
            why = "it is subscribed to"
        elif any(name.startswith(folder.name + "/") for name in names):
            why = "there is a folder below it"
        elif _changed(directory) > before:
            why = "it has not been empty for so long"
        if not why:
            names.discard(folder.name)
        yield folder, why


def _remains(maildir: Directory, layout: Layout) -> Iterator[Folder]:
    """Yield folders that somebody was about to remove: directories without new/, cur/ and tmp/."""
    if layout is not Layout.MAILDIRPP:  # elsewhere a directory without them may be the way to a folder
        return
    for folder in partless(maildir):
        directory = enter_folder(maildir, folder)
        if all(map(is_known, directory.disk.list_names(directory.fd))):
            yield folder


def _is_empty(folder: Directory, part: str) -> bool:
    return next(entries(folder, part), None) is None


def _changed(folder: Directory) -> float:
    """Return when a message last came or went; of remains, when they became that."""
    times = []
    for part in PARTS:
        with suppress(FileNotFoundError):
            times.append(os.stat(part, dir_fd=folder.fd, follow_symlinks=False).st_mtime)
    return max(times, default=os.fstat(folder.fd).st_mtime)
