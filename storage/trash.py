"""The scripts' own trash in a Maildir: what they take out of folders, kept until nobody wants it back.

    <Maildir>/lmtpd-trash/<when>-<script>-<random>/<folder's directories, or INBOX>/cur/<name>

No mail reader shows it: in Maildir++ a folder begins with a dot. In the layout "fs" Dovecot shows every
directory but new/, cur/ and tmp/, so there it lies in cur/, and begins with a dot, as what readers pass over
does. A message goes in and comes back by one rename, and its place in the
trash says where it belongs. So there is no list that could be wrong after a crash: at every moment a
message is in its folder or in the trash, whole, with its name, flags and date.

What comes back has its old UID if Dovecot has not looked meanwhile, and else a new one.
"""

import os
import re
import secrets
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum

from storage import uidlist
from storage.directory import DIRECTORY_MODE, Directory
from storage.errors import MailboxMissing
from storage.folders import Layout, folder_of_name
from storage.listing import INBOX, PARTS, Folder, enter_folder
from storage.messages import MessageFile, locate, messages
from storage.quota_change import enter_change
from storage.quota_limit import NOTHING, Usage

TOPS = {Layout.MAILDIRPP: ("lmtpd-trash",), Layout.FS: ("cur", ".lmtpd-trash")}
# Under one lock of Dovecot's, which waits meanwhile.
GROUP = 512

_BATCH = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})T([0-9]{2})([0-9]{2})([0-9]{2})Z-([a-z]+)-[0-9a-f]{8}")
_WHEN = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True, slots=True)
class Batch:
    """What one run put into the trash."""

    name: str
    script: str
    made_s: int

    @classmethod
    def new(cls, script: str, now_s: float) -> "Batch":
        """Name a batch that was never named before."""
        when = time.strftime(_WHEN, time.gmtime(now_s))
        return cls(f"{when}-{script}-{secrets.token_hex(4)}", script, int(now_s))

    @classmethod
    def parse(cls, name: str) -> "Batch | None":
        """Read a directory's name; None for what is no batch."""
        match = _BATCH.fullmatch(name)
        if match is None:
            return None
        with suppress(ValueError):
            # Not strptime, which loads its module when it is called: maybe with the rights of a user.
            year, month, day, hour, minute, second = map(int, match.groups()[:6])
            made = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
            return cls(name, match[7], int(made.timestamp()))
        return None


class Fate(Enum):
    """What became of a message that was to come back."""

    BACK = "back"
    TAKEN = "a message of its name is in the folder"


@dataclass(frozen=True, slots=True)
class Returned:
    """One message that was taken back, or not."""

    folder: str
    message: MessageFile
    octets: int
    fate: Fate


class Trash:
    """The trash of one open Maildir. Confined to one thread."""

    def __init__(self, maildir: Directory, layout: Layout) -> None:
        self._maildir = maildir
        self._layout = layout

    def batches(self, script: str) -> list[Batch]:
        """Return what a script has put here, the oldest first. OSError."""
        try:
            top = self._top()
        except FileNotFoundError:
            return []
        found = (Batch.parse(name) for name in sorted(top.disk.list_names(top.fd)))
        return [batch for batch in found if batch is not None and batch.script == script]

    def put(
        self, batch: Batch, folder: Folder, chosen: Iterable[MessageFile]
    ) -> Iterator[tuple[MessageFile, int]]:
        """Take messages out of a folder; yield each with its size once it has gone for good.

        One that a reader has deleted meanwhile is not yielded. Locked, OSError, StorageError.
        """
        source = enter_folder(self._maildir, folder)
        group: list[MessageFile] = []
        for message in chosen:
            group.append(message)
            if len(group) >= GROUP:
                yield from self._put_group(batch, folder, source, group)
                group = []
        if group:
            yield from self._put_group(batch, folder, source, group)

    def take_back(self, batch: Batch) -> Iterator[Returned]:
        """Put the messages of a batch where they were; what is empty then goes. Locked, OSError."""
        top = self._top()
        yield from self._take_back_below(top.enter(batch.name), ())
        _remove_empty(top, batch.name)
        self._remove_top_if_empty()

    def return_one(self, batch: Batch, folder: Folder, place: MessageFile) -> None:
        """Put back one message that was just taken out. OSError."""
        directory = self._top()
        for part in (batch.name, *(folder.parts or (INBOX,))):
            directory = directory.enter(part)
        target = enter_folder(self._maildir, folder)
        _, octets = _move(directory, place, {part: _entered_or_made(target, part) for part in PARTS})
        target.enter(place.part).sync()
        enter_change(self._maildir, Usage(octets, 1))

    def purge(self, batch: Batch) -> Usage:
        """Delete a batch for good; return what it held. OSError."""
        top = self._top()
        usage = _delete(top, batch.name)
        self._remove_top_if_empty()
        return usage

    def _put_group(
        self, batch: Batch, folder: Folder, source: Directory, group: list[MessageFile]
    ) -> Iterator[tuple[MessageFile, int]]:
        target = self._made((*TOPS[self._layout], batch.name, *(folder.parts or (INBOX,))))
        parts = {part: _entered_or_made(target, part) for part in PARTS}
        target.sync()
        gone = []
        with uidlist.locked(source):
            for message in group:
                with suppress(MailboxMissing):
                    gone.append(_move(source, message, parts))
        for part in parts.values():
            part.sync()
        for changed in {place.part for place, _ in gone}:
            source.enter(changed).sync()
        enter_change(self._maildir, NOTHING - Usage(sum(octets for _, octets in gone), len(gone)))
        yield from gone

    def _top(self) -> Directory:
        directory = self._maildir
        for part in TOPS[self._layout]:
            directory = directory.enter(part)
        return directory

    def _remove_top_if_empty(self) -> None:
        *above, name = TOPS[self._layout]
        directory = self._maildir
        for part in above:
            directory = directory.enter(part)
        _remove_if_empty(directory, name)

    def _made(self, parts: tuple[str, ...]) -> Directory:
        """Open a directory below the Maildir, made durably where it is missing."""
        directory = self._maildir
        for part in parts:
            below = _entered_or_made(directory, part)
            directory.sync()
            directory = below
        return directory

    def _take_back_below(self, directory: Directory, parts: tuple[str, ...]) -> Iterator[Returned]:
        for name in sorted(directory.disk.list_names(directory.fd)):
            if name not in PARTS:
                yield from self._take_back_below(directory.enter(name), (*parts, name))
        found = messages(directory)
        if not found:
            return
        where = () if parts == (INBOX,) else parts
        shown = folder_of_name(where[0]) if where and self._layout is Layout.MAILDIRPP else None
        name = shown or "/".join(where) or INBOX
        # A folder that was deleted meanwhile is there again.
        target = self._made(where)
        places = {part: _entered_or_made(target, part) for part in (*PARTS, "tmp")}
        target.sync()
        back = []
        with uidlist.locked(target):
            taken = messages(target)
            for base, message in sorted(found.items()):
                octets = directory.disk.status(f"{message.part}/{message.name}", dir_fd=directory.fd).st_size
                if base in taken:
                    yield Returned(name, message, octets, Fate.TAKEN)
                    continue
                _move(directory, message, places)
                back.append(Returned(name, message, octets, Fate.BACK))
        for place in places.values():
            place.sync()
        enter_change(self._maildir, Usage(sum(each.octets for each in back), len(back)))
        yield from back


def _move(source: Directory, message: MessageFile, targets: dict[str, Directory]) -> tuple[MessageFile, int]:
    """Rename a message, wherever it is now, into the same part of another folder. MailboxMissing, OSError."""
    while True:
        place, status = locate(source, message)
        part, target = source.enter(place.part), targets[place.part]
        with suppress(FileNotFoundError):  # renamed between the two
            source.disk.rename_exclusive(place.name, place.name, src_dir_fd=part.fd, dst_dir_fd=target.fd)
            return place, status.st_size


def _entered_or_made(directory: Directory, name: str) -> Directory:
    with suppress(FileExistsError):
        directory.disk.make_directory(name, DIRECTORY_MODE, dir_fd=directory.fd)
    return directory.enter(name)


def _delete(directory: Directory, name: str) -> Usage:
    """Delete a directory and all below it, following no link."""
    below = directory.enter(name)
    usage = NOTHING
    with os.scandir(below.fd) as listed:
        entries = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in listed]
    for entry, is_directory in entries:
        if is_directory:
            usage += _delete(below, entry)
        else:
            usage += Usage(below.disk.status(entry, dir_fd=below.fd).st_size, 1)
            below.disk.unlink(entry, dir_fd=below.fd)
    os.rmdir(name, dir_fd=directory.fd)
    return usage


def _remove_empty(directory: Directory, name: str) -> None:
    below = directory.enter(name)
    for each in below.disk.list_names(below.fd):
        with suppress(NotADirectoryError):
            _remove_empty(below, each)
    _remove_if_empty(directory, name)


def _remove_if_empty(directory: Directory, name: str) -> None:
    with suppress(OSError):
        os.rmdir(name, dir_fd=directory.fd)
