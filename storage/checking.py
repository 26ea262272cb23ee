"""Looking at messages by names and status alone: names, sizes, flags, modes, owners, strays.

No message is opened, unless its name tells another size than the disk: then its first octets, to see
whether a mail server has compressed it. One pass over each directory, nothing kept but what must be compared
within a folder.
"""

import os
import re
from collections.abc import Iterator, Set
from dataclasses import dataclass
from itertools import pairwise
from stat import S_IMODE, S_ISDIR, S_ISLNK, S_ISREG

from storage.directory import Directory
from storage.findings import (
    Finding,
    Looked,
    Place,
    Rename,
    SetMode,
    SetOwner,
    Weight,
)
from storage.folders import Layout
from storage.listing import PARTS, Folder, entries
from storage.making import mode_of
from storage.names import base_of
from storage.trash import TOPS

OTHERS = 0o007
_LOOKED = 1000

# How a message is named: base, S=, W= and what else stands before the colon; then the flags.
MESSAGE = re.compile(
    r"(?P<base>[0-9]+\.[^,:]+)(?:,S=(?P<octets>[0-9]+))?(?:,W=(?P<wire>[0-9]+))?(?P<rest>,[^:]*)?"
    r"(?::2,(?P<flags>[A-Za-z]*))?"
)
_USUAL_FLAGS = ("2,", "2,S")
_STORED_OTHERWISE = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"Dovecot-LZ4", b"CRYPTED\x03")


@dataclass(frozen=True, slots=True)
class Expected:
    """What holds for all of a Maildir."""

    uid: int
    gid: int
    directory_mode: int
    may_give: bool  # root may mend owners

    @classmethod
    def of(cls, maildir: Directory, *, may_give: bool) -> "Expected":
        """Take the Maildir's own directory for the pattern. OSError."""
        status = os.fstat(maildir.fd)
        return cls(status.st_uid, status.st_gid, mode_of(maildir), may_give)

    def rights(self, place: Place, status: os.stat_result) -> Iterator[Finding]:
        """Judge owner and mode of a message or directory."""
        yield from self.ownership(place, status)
        needed = 0o700 if S_ISDIR(status.st_mode) else 0o600
        mode = S_IMODE(status.st_mode)
        if mode & OTHERS or mode & needed != needed:
            right = mode & ~OTHERS | needed
            text = f"mode {mode:04o} instead of {right:04o}"
            may = status.st_uid == self.uid or self.may_give
            yield Finding("mode", place, text, fix=SetMode(right) if may else None)

    def ownership(self, place: Place, status: os.stat_result) -> Iterator[Finding]:
        """Judge the owner of anything."""
        if (status.st_uid, status.st_gid) != (self.uid, self.gid):
            text = f"belongs to {status.st_uid}:{status.st_gid}, the Maildir to {self.uid}:{self.gid}"
            shared = status.st_nlink > 1 and not S_ISDIR(status.st_mode)
            fix = SetOwner(self.uid, self.gid) if self.may_give and not shared else None
            yield Finding("owner", place, text, fix=fix)


def check_messages(  # Long because its loop, run for every message, calls no function of ours
    directory: Directory, folder: Folder, part: str, expected: Expected, *, kept: Set[str], seen: set[int]
) -> Iterator[Finding | Looked]:
    """Look at every message in new/ or cur/ of a folder. OSError.

    kept: names that must stay as they are. seen: filled with the hashes of the base names, to find those
    that come twice in the folder.
    """
    uid, gid = expected.uid, expected.gid
    here = folder.parts
    known, count = seen, 0
    colon_here, fine = ("", {""}) if part == "new" else (":", set(_USUAL_FLAGS))
    for entry in entries(directory, part):
        count += 1
        if count == _LOOKED:
            yield Looked(count)
            count = 0
        name = entry.name
        try:
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            continue  # a mail reader was faster
        before, colon, behind = name.partition(":")
        base, size = hash(before), status.st_size
        seconds, _, rest = before.partition(".")
        sized = rest.partition(",S=")[2]
        # What nearly every message is, in as few steps as can be.
        if (
            behind in fine
            and colon == colon_here
            and (not sized or sized.partition(",")[0] == str(size))
            and status.st_uid == uid
            and status.st_gid == gid
            and status.st_mode & 0o177607 == 0o100600
            and base not in known
            and size
            and rest
            and rest[0] != ","
            and seconds.isdigit()
            and name.isascii()
            and name.isprintable()
        ):
            known.add(base)
            continue
        match = MESSAGE.fullmatch(name)
        if colon_here and match is not None and match["flags"] is not None and _ordered(match["flags"]):
            fine.add(behind)  # with keywords; the next message that has them is usual
        place = Place(here, part, name)
        if not S_ISREG(status.st_mode):
            if (part, name) != TOPS[Layout.FS]:
                yield Finding("stray", place, f"{called(status)} among the messages")
            continue
        if base in known and _is_twice(directory, name):
            yield Finding("twice", place, "another message of the folder has the same name")
        known.add(base)
        yield from expected.rights(place, status)
        yield from _message(directory, place, status, match, kept)
    if count:
        yield Looked(count)


def _is_twice(directory: Directory, name: str) -> bool:
    """Look again: a message that is moved or gets a flag while it is listed may come twice in the listing."""
    base = base_of(name)
    return sum(base_of(entry.name) == base for part in PARTS for entry in entries(directory, part)) > 1


def _message(
    directory: Directory, place: Place, status: os.stat_result, match: re.Match[str] | None, kept: Set[str]
) -> Iterator[Finding]:
    name, part = place.name, place.part
    if name.startswith("."):
        yield Finding("stray", place, "a hidden file, which no mail reader shows")
        return
    if not name.isprintable():
        yield Finding("name", place, "characters that cannot be shown, or are not UTF-8")
    elif match is None:
        yield Finding("name", place, "not SECONDS.ID.HOST", Weight.NOTE)
    if status.st_size == 0:
        yield Finding("empty", place, "no octet in it")
    base, colon, information = name.partition(":")
    new_base, new_part, new_information = base, part, colon + information
    named = _named_octets(match)
    if named is not None and named != status.st_size and not is_stored_otherwise(directory, place):
        kind, word = ("torn", "shorter") if status.st_size < named else ("size", "longer")
        new_base = _with_octets(base, status.st_size)
        fix = Rename(part, new_base + new_information) if base not in kept else None
        yield Finding(kind, place, f"{status.st_size} octets, {word} than the {named} of its name", fix=fix)
    if part == "new" and colon:
        new_part = "cur"
        yield Finding("flags", place, "flags in new/", fix=Rename("cur", new_base + new_information))
    elif part == "cur" and not colon:
        yield Finding("flags", place, "no flags in cur/", Weight.NOTE, Rename("cur", new_base + ":2,"))
    flags = information.removeprefix("2,")
    if information.startswith("2,") and flags.isalpha() and not _ordered(flags):
        new_information = ":2," + "".join(sorted(set(flags)))
        fix = Rename(new_part, new_base + new_information)
        yield Finding("flags", place, "flags out of order, or twice", Weight.NOTE, fix)


def _named_octets(match: re.Match[str] | None) -> int | None:
    return int(match["octets"]) if match is not None and match["octets"] is not None else None


def _with_octets(base: str, octets: int) -> str:
    """Correct S=; W=, which nobody has counted, goes: mail readers count for themselves."""
    base = re.sub(r",W=[0-9]+", "", base, count=1)
    return re.sub(r",S=[0-9]+", f",S={octets}", base, count=1)


def _ordered(flags: str) -> bool:
    # Upper-case letters sort before the keywords' lower-case ones, as everybody writes them.
    return len(flags) < 2 or all(one < other for one, other in pairwise(flags))


def is_stored_otherwise(directory: Directory, place: Place) -> bool:
    """Tell whether a mail server keeps the message compressed or encrypted: S= is its size without that."""
    disk = directory.disk
    part = directory.enter(place.part)
    try:
        fd = disk.open_file(place.name, dir_fd=part.fd)
    except OSError:
        return True  # nobody can tell, so nobody is blamed
    try:
        return disk.read(fd, 16).startswith(_STORED_OTHERWISE)
    finally:
        disk.close(fd)


def called(status: os.stat_result) -> str:
    """Name the kind of a thing that is in the wrong place."""
    if S_ISLNK(status.st_mode):
        return "a link"
    if S_ISDIR(status.st_mode):
        return "a directory"
    return "a file" if S_ISREG(status.st_mode) else "a device, socket or pipe"
