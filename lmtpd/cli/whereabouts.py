"""Where a delivered message is now: mail readers move it to cur/ and rename it as its flags change."""

import os
import re
from itertools import product

from storage.folders import FolderNameError, FolderNames, Layout, folder_parts
from storage.history import HistoryRow

_BASE = re.compile(r"[^,:]*")


def whereabouts(row: HistoryRow, layout: Layout) -> str:
    """Say where the file of a delivery is: "new/NAME", "cur/NAME:2,S", "gone", or why that cannot be told."""
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
    return told[0] if told else "gone: moved to another folder, or deleted"


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


def _base(name: str) -> str:
    match = _BASE.match(name)
    return match[0] if match else name
