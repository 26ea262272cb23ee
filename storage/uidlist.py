"""`dovecot-uidlist`: which UID Dovecot gave to which file of a folder; read, and rewritten under its lock.

    3 V<UIDVALIDITY> N<next UID> G<mailbox GUID>
    <UID> [W<wire octets> S<octets> G<GUID> ...] :<file name, without flags>

as maildir-uidlist.c writes it. It belongs to Dovecot: delivery never touches it. A script that renames,
adds or removes messages in a folder which has one does so while it holds the lock (`locked`), so that
Dovecot does not hand out UIDs meanwhile; one that changes a name enters the new one, so that the message
keeps its UID, its flags in the index and its GUID.
"""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from storage.directory import Directory
from storage.dotlock import dotlock
from storage.errors import StorageError

NAME = "dovecot-uidlist"
# Some 100 octets a message; more than this is no list of a folder that anybody could read mail in.
LIST_OCTETS = 1 << 30
_CHUNK = 1 << 20

_HEADER = re.compile(rb"3 (?=.*\bV(?P<validity>[0-9]+))(?=.*\bN(?P<next>[0-9]+))[^\n]*")
_LINE = re.compile(rb"(?P<uid>[0-9]+)(?P<extensions>(?: [^: ][^ ]*)*) :(?P<name>[^\n]+)")


class UidlistUnreadable(StorageError):
    """It is there, and not what Dovecot writes; Dovecot would make a new one, with new UIDs."""


@dataclass(frozen=True, slots=True)
class Uidlist:
    """A list as it was read."""

    validity: int
    next_uid: int
    uids: Mapping[str, int]  # by file name, without flags
    faults: tuple[str, ...]  # what Dovecot would not have written


def exists(folder: Directory) -> bool:
    """Tell whether Dovecot keeps its list in this folder."""
    try:
        folder.disk.status(NAME, dir_fd=folder.fd)
    except FileNotFoundError:
        return False
    return True


@contextmanager
def locked(folder: Directory, *, wait_s: float | None = None) -> Iterator[None]:
    """Keep Dovecot from giving UIDs in this folder, if it does so at all. Locked, OSError."""
    if not exists(folder):
        yield
        return
    with dotlock(folder, NAME, wait_s=wait_s):
        yield


def read(folder: Directory) -> Uidlist | None:
    """Read a folder's list; None if there is none. UidlistUnreadable, OSError."""
    content = _content(folder)
    if content is None:
        return None
    header, _, rest = content.partition(b"\n")
    match = _HEADER.fullmatch(header)
    if match is None:
        raise UidlistUnreadable(f"{NAME} begins with {header[:80]!r}")
    uids: dict[str, int] = {}
    faults: list[str] = []
    last = 0
    for line in rest.split(b"\n")[:-1]:
        entry = _LINE.fullmatch(line)
        if entry is None:
            faults.append(f"a line that is none: {line[:80]!r}")
            continue
        uid, name = int(entry["uid"]), _base(entry["name"])
        if uid <= last:
            faults.append(f"UID {uid} behind UID {last}")
        if name in uids:
            faults.append(f"{name} has the UIDs {uids[name]} and {uid}")
        last = max(last, uid)
        uids[name] = uid
    # Dovecot appends lines and leaves the head as it is until it writes the whole list anew.
    next_uid = max(int(match["next"]), last + 1)
    return Uidlist(int(match["validity"]), next_uid, uids, tuple(faults))


def rename(folder: Directory, changes: Mapping[str, str]) -> None:
    """Enter new file names, old ones as keys, both without flags; UIDs and GUIDs stay. Under the lock only.

    Durable on return. The caller renames the files right after. UidlistUnreadable, OSError.
    """
    content = _content(folder)
    if content is None:
        return
    header, *lines = content.split(b"\n")
    changed = [header, *(_renamed(line, changes) for line in lines)]
    _replace(folder, b"\n".join(changed))


def _renamed(line: bytes, changes: Mapping[str, str]) -> bytes:
    entry = _LINE.fullmatch(line)
    new = changes.get(_base(entry["name"])) if entry else None
    if entry is None or new is None:
        return line
    old = entry["name"].partition(b":")[0]
    # The sizes are read from the new name. Without a GUID of its own, a message's GUID is its old name.
    kept = [each for each in entry["extensions"].split() if each[:1] not in (b"S", b"W")]
    if not any(each.startswith(b"G") for each in kept):
        kept.append(b"G" + old)
    name = new.encode("utf-8", "surrogateescape")
    if b"G" + name in kept:  # its first name again
        kept.remove(b"G" + name)
    return b" ".join([entry["uid"], *kept, b":" + name])


def _replace(folder: Directory, content: bytes) -> None:
    """Write a new list over the old one, with its mode, by way of the name that Dovecot uses as well."""
    disk, tmp = folder.disk, NAME + ".tmp"
    with suppress(FileNotFoundError):
        disk.unlink(tmp, dir_fd=folder.fd)
    fd = disk.create(tmp, dir_fd=folder.fd)
    try:
        os.fchmod(fd, disk.status(NAME, dir_fd=folder.fd).st_mode & 0o666)
        rest = memoryview(content)
        while rest:
            rest = rest[disk.write(fd, rest) :]
        disk.sync(fd)
    finally:
        disk.close(fd)
    disk.replace(tmp, NAME, dir_fd=folder.fd)
    folder.sync()


def _content(folder: Directory) -> bytes | None:
    disk = folder.disk
    try:
        fd = disk.open_file(NAME, dir_fd=folder.fd)
    except FileNotFoundError:
        return None
    pieces: list[bytes] = []
    octets = 0
    try:
        while piece := disk.read(fd, _CHUNK):
            pieces.append(piece)
            octets += len(piece)
            if octets > LIST_OCTETS:
                raise UidlistUnreadable(f"{NAME} has more than {LIST_OCTETS} octets")
    finally:
        disk.close(fd)
    return b"".join(pieces)


def _base(name: bytes) -> str:
    return name.partition(b":")[0].decode("utf-8", "surrogateescape")
