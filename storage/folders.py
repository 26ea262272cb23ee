"""Folders of a mailbox: their names on disk, and how one is made.

A folder is named as people see it, "A/B". Maildir++ keeps it in the directory `.A.B` of the Maildir, the
layout "fs" in `A/B`, each a Maildir of its own. Names are in modified UTF-7 (RFC 3501 5.1.3), as Dovecot
and older Couriers have it, or in UTF-8, as newer Couriers and Dovecot with ":UTF-8".

The rule: what comes out is safe to open below a Maildir and hits nobody else's file, whatever came in.
"""

import re
from base64 import b64decode, b64encode
from enum import Enum
from unicodedata import category

from storage.maildir import Maildir, MaildirPath
from storage.maildirs import Maildirs

# As Dovecot (MAILBOX_MAX_HIERARCHY_LEVELS).
LEVELS = 20
# What file systems allow for one name.
NAME_OCTETS = 255
# For all of a folder's directories together: with a root, "/cur/" and a file name behind them, the path
# stays below the 4,096 octets of PATH_MAX, so that every mail reader can open it.
FOLDER_OCTETS = 1024

_OURS_IN_FS = frozenset({"new", "cur", "tmp"})
# Files of mail readers in a Maildir, which a directory of the same name would break.
_OTHERS_IN_FS = re.compile(
    r"dovecot.*|courier.*|subscriptions.*|maildir(size|folder|shared).*|shared-.*", re.IGNORECASE
)

_ENCODED = re.compile(r"&|[^ -~]+")
_DECODED = re.compile(r"&([^-]*)-")


class Layout(Enum):
    """How folders lie in a Maildir."""

    MAILDIRPP = "maildir++"
    FS = "fs"


class FolderNames(Enum):
    """How the names of folders are written on disk."""

    UTF7 = "utf-7"  # modified
    UTF8 = "utf-8"


class FolderNameError(ValueError):
    """A folder cannot have this name."""


def folder_parts(layout: Layout, folder: str, *, names: FolderNames = FolderNames.UTF7) -> tuple[str, ...]:
    """Return the directories below a Maildir that lead to a folder; none for INBOX, the Maildir itself.

    FolderNameError: there can be no such folder. No two have the same directories, INBOX in
    any case of letters apart.
    """
    if folder.upper() == "INBOX":
        return ()
    components = folder.split("/")
    if len(components) > LEVELS:
        raise FolderNameError(f"more than {LEVELS} levels")
    for component in components:
        _refuse_unsafe(component)
    encoded = tuple(components if names is FolderNames.UTF8 else map(encode_utf7, components))
    parts = _in_maildirpp(encoded) if layout is Layout.MAILDIRPP else _in_fs(encoded)
    octets = [len(part.encode()) for part in parts]
    if max(octets) > NAME_OCTETS or sum(octets) > FOLDER_OCTETS:
        raise FolderNameError("too long")
    return parts


def folder_of_name(name: str, *, names: FolderNames = FolderNames.UTF7) -> str | None:
    """Return the folder that a Maildir++ directory name stands for; None if it is no folder's name."""
    if not name.startswith("."):
        return None
    try:
        levels = name[1:].split(".")
        folder = "/".join(levels if names is FolderNames.UTF8 else map(decode_utf7, levels))
        return folder if folder_parts(Layout.MAILDIRPP, folder, names=names) == (name,) else None
    except FolderNameError:
        return None


def create_folder(
    maildirs: Maildirs,
    inbox: MaildirPath,
    layout: Layout,
    *,
    folder: str,
    names: FolderNames = FolderNames.UTF7,
) -> Maildir:
    """Open a folder, made if it is missing, in a mailbox that exists. FolderNameError, StorageError."""
    parts = folder_parts(layout, folder, names=names)
    maildirs.open(inbox, create=False)
    marker = layout is Layout.MAILDIRPP and bool(parts)
    return maildirs.open(inbox.below(parts), create=True, marker=marker)


def encode_utf7(text: str) -> str:
    """Write text in modified UTF-7: printable ASCII as it is, "&" as "&-", the rest in base64."""
    try:
        return _ENCODED.sub(_encode_run, text)
    except UnicodeEncodeError as exc:
        raise FolderNameError("half of a character (a lone surrogate)") from exc


def decode_utf7(text: str) -> str:
    """Read modified UTF-7; only what encode_utf7 writes, so that no folder has two names."""
    try:
        decoded = _DECODED.sub(_decode_run, text)
    except ValueError as exc:
        raise FolderNameError("not modified UTF-7") from exc
    if encode_utf7(decoded) != text:
        raise FolderNameError("not canonical modified UTF-7")
    return decoded


def _refuse_unsafe(component: str) -> None:
    if not component:
        raise FolderNameError("an empty name")
    if any(category(character) in ("Cc", "Cs") for character in component):
        raise FolderNameError("a control character, or half of a character")


def _in_maildirpp(names: tuple[str, ...]) -> tuple[str, ...]:
    if any("." in name for name in names):
        raise FolderNameError("a dot, which separates levels on disk")
    return ("." + ".".join(names),)


def _in_fs(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        # "~": Dovecot would take it for a home directory. ".": hidden files such as .dovecot.sieve, and
        # the two names that every directory has.
        if name in _OURS_IN_FS or name.startswith(("~", ".")) or _OTHERS_IN_FS.fullmatch(name):
            raise FolderNameError("a name that has another use in a Maildir")
    return names


def _encode_run(match: re.Match[str]) -> str:
    if match[0] == "&":
        return "&-"
    encoded = b64encode(match[0].encode("utf-16-be"), altchars=b"+,")
    return "&" + encoded.rstrip(b"=").decode("ascii") + "-"


def _decode_run(match: re.Match[str]) -> str:
    encoded = match[1]
    if not encoded:
        return "&"
    padding = "=" * (-len(encoded) % 4)
    return b64decode(encoded + padding, altchars=b"+,", validate=True).decode("utf-16-be")
