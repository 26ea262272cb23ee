"""Dovecot's list of the folders that a mail reader shows: the file `subscriptions` in a Maildir.

It belongs to the IMAP server; a folder made by delivery is entered, nothing else is touched. Lines have
the folder's name in modified UTF-7. Behind the header "V<TAB>2" levels are separated by a TAB, in older
files without it as on disk. Dovecot's way to write, which this is, too: a lock file made exclusively, the
new content in it, renamed over the old (subscription-file.c).
"""

import time
from contextlib import suppress

from storage.directory import Directory
from storage.disk import Disk
from storage.dotlock import break_stale
from storage.errors import StorageError, from_oserror
from storage.folders import FolderNameError, FolderNames, Layout, decode_utf7, encode_utf7, folder_parts
from storage.maildir import MaildirPath
from storage.opening import descend

# A list of ten thousand folders has some 300 KiB; more than this is not a list of folders.
LIST_OCTETS = 4 << 20
# Dovecot's SUBSCRIPTION_FILE_CHANGE_TIMEOUT: who has left a lock for so long has died over it.
LOCK_STALE_S = 30.0

_NAME = "subscriptions"
_LOCK = "subscriptions.lock"
_HEADER = b"V\t2\n\n"
_SEPARATOR_ON_DISK = {Layout.MAILDIRPP: b".", Layout.FS: b"/"}


def subscribe(
    disk: Disk, inbox: MaildirPath, layout: Layout, *, folder: str, names: FolderNames = FolderNames.UTF7
) -> bool:
    """Enter a folder of the mailbox; tell whether it was new there.

    NameTaken: the list is locked. Any StorageError leaves the list as it was; FolderNameError.
    """
    try:
        return subscribe_in(descend(disk, inbox, create=False)[-1], layout, folder=folder, names=names)
    except OSError as exc:
        raise from_oserror(exc) from exc


def subscribe_in(
    maildir: Directory, layout: Layout, *, folder: str, names: FolderNames = FolderNames.UTF7
) -> bool:
    """Do what `subscribe` does in a mailbox that is open."""
    if not folder_parts(layout, folder, names=names):
        folder = "INBOX"
    levels = [
        (level if names is FolderNames.UTF8 else encode_utf7(level)).encode() for level in folder.split("/")
    ]
    disk = maildir.disk
    try:
        fd = _lock(maildir)
        try:
            return _rewrite(maildir, fd, levels, old_separator=_SEPARATOR_ON_DISK[layout])
        except BaseException:
            with suppress(OSError):
                disk.unlink(_LOCK, dir_fd=maildir.fd)
            raise
    except OSError as exc:
        raise from_oserror(exc) from exc


def subscribed(maildir: Directory, layout: Layout) -> frozenset[str]:
    """Return the folders that are on the list, "A/B", those with a readable name. StorageError, OSError."""
    content = _read(maildir)
    separator = b"\t" if content.startswith(_HEADER) else _SEPARATOR_ON_DISK[layout]
    folders = set()
    for line in content.removeprefix(_HEADER).split(b"\n"):
        with suppress(FolderNameError, UnicodeDecodeError):
            folders.add("/".join(decode_utf7(level.decode("ascii")) for level in line.split(separator)))
    return frozenset(folders - {""})


def _lock(maildir: Directory) -> int:
    with suppress(FileExistsError):
        return maildir.disk.create(_LOCK, dir_fd=maildir.fd)
    break_stale(maildir, _LOCK, now=time.time(), stale_s=LOCK_STALE_S)
    return maildir.disk.create(_LOCK, dir_fd=maildir.fd)


def _rewrite(maildir: Directory, fd: int, levels: list[bytes], *, old_separator: bytes) -> bool:
    disk = maildir.disk
    try:
        content = _read(maildir)
        separator = b"\t" if content.startswith(_HEADER) else old_separator
        line = separator.join(levels)
        is_new = line not in content.split(b"\n")
        if is_new:
            if content and not content.endswith(b"\n"):
                content += b"\n"
            rest = memoryview(content + line + b"\n")
            while rest:
                rest = rest[disk.write(fd, rest) :]
            disk.sync(fd)
    finally:
        disk.close(fd)
    if is_new:
        disk.replace(_LOCK, _NAME, dir_fd=maildir.fd)
    else:
        disk.unlink(_LOCK, dir_fd=maildir.fd)
    return is_new


def _read(maildir: Directory) -> bytes:
    disk = maildir.disk
    try:
        fd = disk.open_file(_NAME, dir_fd=maildir.fd)
    except FileNotFoundError:
        return _HEADER
    content = b""
    try:
        while piece := disk.read(fd, LIST_OCTETS):
            content += piece
            if len(content) > LIST_OCTETS:
                raise StorageError(f"{_NAME} has more than {LIST_OCTETS} octets")
    finally:
        disk.close(fd)
    return content
