"""Where a delivered message is now: mail readers move it to cur/ and rename it as its flags change."""

import os
import re

from storage.folders import FolderNameError, Layout, folder_parts
from storage.history import HistoryRow

_BASE = re.compile(r"[^,:]*")


def whereabouts(row: HistoryRow, layout: Layout) -> str:
    """Say where the file of a delivery is: "new/NAME", "cur/NAME:2,S", "gone", or why that cannot be told."""
    if not row.file or row.outcome not in ("delivered", "recognised"):
        return ""
    try:
        maildir = os.path.join(row.mailbox, *folder_parts(layout, row.folder)) if row.folder else row.mailbox
    except FolderNameError as exc:
        return f"cannot be told: {exc}"
    for directory in ("new", "cur"):
        try:
            names = os.listdir(os.path.join(maildir, directory))
        except FileNotFoundError:
            continue
        except OSError as exc:
            return f"cannot be told: {exc.strerror}"
        if row.file in names:
            return f"{directory}/{row.file}"
        # Up to the first comma or colon a name stays the same, whatever a reader makes of the rest.
        base = _base(row.file)
        if renamed := [name for name in names if _base(name) == base]:
            return f"{directory}/{renamed[0]}"
    return "gone: moved to another folder, or deleted"


def _base(name: str) -> str:
    match = _BASE.match(name)
    return match[0] if match else name
