"""Looking into messages: W=, files torn by a power cut, equal messages of a folder. Reads every octet."""

import os
from collections.abc import Iterator, Set
from hashlib import blake2b
from stat import S_ISREG

from storage.checking import MESSAGE, is_stored_otherwise
from storage.directory import Directory
from storage.findings import Finding, Looked, Place, Rename, Weight
from storage.listing import PARTS, Folder, entries

_CHUNK = 1 << 20
# A file system that lost the data of a file, but not its size, fills it up with NUL (XFS, ext4 without its
# care for renames): whole blocks, so this much at the end is no accident of the sender's.
_TORN_TAIL = bytes(512)


class _Content:
    """What is asked of one message's octets."""

    def __init__(self, directory: Directory, fd: int) -> None:
        digest, tail, last = blake2b(digest_size=16), b"", b""
        self.octets = self.wire_octets = 0
        while piece := directory.disk.read(fd, _CHUNK):
            digest.update(piece)
            self.octets += len(piece)
            bare = piece.count(b"\n") - piece.count(b"\r\n")
            # CR at the end of one piece, LF at the beginning of the next.
            self.wire_octets += len(piece) + bare - (last == b"\r" and piece[:1] == b"\n")
            last = piece[-1:]
            tail = (tail + piece)[-len(_TORN_TAIL) :]
        self.digest = digest.digest()
        self.is_torn = tail == _TORN_TAIL


def check_contents(
    directory: Directory, folder: Folder, *, uid: int, kept: Set[str]
) -> Iterator[Finding | Looked]:
    """Read every message of a folder. OSError.

    Only files of the owner's are read; the others are told of by who looks at owners.
    """
    first: dict[bytes, str] = {}
    for part in PARTS:
        opened: Directory | None = None
        for entry in entries(directory, part):
            opened = opened or directory.enter(part)
            place = Place(folder.parts, part, entry.name)
            try:
                content = _read(opened, entry, uid)
            except OSError as exc:
                yield Finding("unreadable", place, f"cannot be read: {exc.strerror}")
                yield Looked(1)
                continue
            if content is None or is_stored_otherwise(directory, place):
                continue
            yield Looked(1)
            if content.is_torn:
                yield Finding("torn", place, "ends in NUL octets: its end was never written")
            yield from _wire(place, content, kept)
            if content.octets and (other := first.setdefault(content.digest, entry.name)) != entry.name:
                yield Finding("duplicate", place, f"the same octets as {other}", Weight.NOTE)


def _wire(place: Place, content: _Content, kept: Set[str]) -> Iterator[Finding]:
    match = MESSAGE.fullmatch(place.name)
    if match is None or match["wire"] is None or int(match["wire"]) == content.wire_octets:
        return
    text = f"{content.wire_octets} octets with CRLF, not the {match['wire']} of its name"
    base, colon, information = place.name.partition(":")
    base = base.replace(f",W={match['wire']}", f",W={content.wire_octets}")
    if match["octets"] is not None:
        base = base.replace(f",S={match['octets']}", f",S={content.octets}")
    fix = Rename(place.part, base + colon + information) if place.name.partition(":")[0] not in kept else None
    yield Finding("wire_size", place, text, fix=fix)


def _read(part: Directory, entry: os.DirEntry[str], uid: int) -> _Content | None:
    """Read a message; None for what others tell of: what is no file, or not the owner's. OSError."""
    try:
        if not S_ISREG(entry.stat(follow_symlinks=False).st_mode):
            return None
        fd = part.disk.open_file(entry.name, dir_fd=part.fd)
    except FileNotFoundError:
        return None  # a mail reader was faster
    try:
        status = part.disk.status_of(fd)
        return _Content(part, fd) if S_ISREG(status.st_mode) and status.st_uid == uid else None
    finally:
        part.disk.close(fd)
