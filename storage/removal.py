"""Taking an empty folder away beside programs that may be about to put mail into it.

The order makes it safe: tmp/ goes first, so nothing new can be begun, and it does not go while anything is
being delivered by way of it. Then new/ and cur/, which do not go while they hold a message. What had gone
before that shows is made again.
"""

import os
import time
from contextlib import suppress

from storage import uidlist
from storage.directory import Directory
from storage.dotlock import break_stale
from storage.making import make_one, mode_of

# In this order: behind a directory that could not be removed nothing else was.
_ORDER = ("tmp", "new", "cur")


class NotEmpty(Exception):
    """There is a message in the folder, or something that nobody here knows."""


# Of mail servers and of nobody else; without messages they say nothing.
_FILES = ("maildirfolder", "maildirsize", "dovecot-keywords", "dovecot-uidlist", "courierimapuiddb",
          "courierimapkeywords")  # fmt: skip
_INDEXES = "dovecot.index"


def remove_folder(parent: Directory, name: str) -> None:
    """Remove a folder that holds no message. NotEmpty: it stays as it was; Locked, OSError."""
    folder = parent.enter(name)
    foreign = [each for each in folder.disk.list_names(folder.fd) if not is_known(each)]
    if foreign:
        raise NotEmpty(f"there is {foreign[0]!r} in it")
    with uidlist.locked(folder):
        _remove_parts(folder)
        for each in folder.disk.list_names(folder.fd):
            if is_known(each) and each != uidlist.NAME + ".lock":
                with suppress(FileNotFoundError):
                    folder.disk.unlink(each, dir_fd=folder.fd)
    # Who was killed behind the list's own removal has left its lock.
    break_stale(folder, uidlist.NAME + ".lock", now=time.time())
    # A delivery that found the folder meanwhile has made its directories again: then it stays.
    try:
        os.rmdir(name, dir_fd=parent.fd)
    except OSError as exc:
        raise NotEmpty("mail arrived while it was being removed") from exc
    parent.sync()


def _remove_parts(folder: Directory) -> None:
    mode = mode_of(folder)
    removed = []
    try:
        for part in _ORDER:
            with suppress(FileNotFoundError):
                os.rmdir(part, dir_fd=folder.fd)
                removed.append(part)
    except OSError as exc:
        for part in removed:
            make_one(folder, part, mode)
        raise NotEmpty("there is mail in it") from exc


def is_known(name: str) -> bool:
    """Tell whether a name in a folder's directory is a mail server's own."""
    return name in (*_ORDER, *_FILES, uidlist.NAME + ".lock") or name.startswith(_INDEXES)
