"""Where a delivered message is now: readers move it to cur/ and other folders, and rename it."""

import os
import re
from collections.abc import Iterator
from itertools import islice, product

from storage.folders import FolderNameError, FolderNames, Layout, folder_parts
from storage.history import HistoryRow

DIRECTORIES = 20_000  # that are looked into; a second or two
CANDIDATES = 200  # files of the same size that are opened
TOP_OCTETS = 4096  # the fields that we put on top

_SIZE = re.compile(r",S=\d+(?=,|$)")
_BASE = re.compile(r"[^,:]*")


def whereabouts(row: HistoryRow, layout: Layout) -> str:
    """Say where the file of a delivery is: "new/NAME", "cur/NAME:2,S", "moved to .Archive/cur/NAME", "gone".

    Or why that cannot be told.
    """
    if not row.file or row.outcome not in ("delivered", "recognised"):
        return ""
    # Domains and users may have other folders than the site has: the rest of the ways are tried, too.
    ways = sorted(product(Layout, FolderNames), key=lambda way: way[0] is not layout)
    try:
        folders = dict.fromkeys(
            os.path.join(row.mailbox, *folder_parts(each, row.folder, names=names))
            if row.folder
            else row.mailbox
            for each, names in ways
        )
    except FolderNameError as exc:
        return f"cannot be told: {exc}"
    found = [_in_maildir(maildir, row.file) for maildir in folders]
    told = sorted(filter(None, found), key=lambda answer: answer.startswith("cannot"))
    if told:
        return told[0]
    where = _in_another_folder(row)
    return f"moved to {where}" if where else "gone: deleted, or moved out of the mailbox"


def _in_maildir(maildir: str, file: str) -> str:
    for directory in ("new", "cur"):
        try:
            names = os.listdir(os.path.join(maildir, directory))
        except FileNotFoundError:
            continue
        except OSError as exc:
            return f"cannot be told: {exc.strerror}"
        if file in names:
            return f"{directory}/{file}"
        # Up to the first comma or colon a name stays the same, whatever a reader makes of the rest.
        base = _base(file)
        if renamed := [name for name in names if _base(name) == base]:
            return f"{directory}/{renamed[0]}"
    return ""


def _in_another_folder(row: HistoryRow) -> str:
    """Look through the whole mailbox, for the name first, then for a copy under another name."""
    size = _SIZE.search(row.file)
    alike = []
    for directory in islice(_mail_directories(row.mailbox), DIRECTORIES):
        for name in _names(directory):
            path = os.path.join(directory, name)
            if _base(name) == _base(row.file):
                return os.path.relpath(path, row.mailbox)
            if size and size[0] in name:
                alike.append(path)
    mark = f" id {row.transaction_id}\n".encode()
    for path in alike[:CANDIDATES]:
        if row.transaction_id and mark in _top(path):
            return os.path.relpath(path, row.mailbox)
    return ""


def _mail_directories(mailbox: str) -> Iterator[str]:
    for directory, below, _ in os.walk(mailbox):
        if "cur" in below and "new" in below:
            yield from (os.path.join(directory, name) for name in ("new", "cur"))
        below[:] = [name for name in below if name not in ("new", "cur", "tmp")]


def _names(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []


def _top(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(TOP_OCTETS)
    except OSError:
        return b""  # it has just been moved


def _base(name: str) -> str:
    match = _BASE.match(name)
    return match[0] if match else name
