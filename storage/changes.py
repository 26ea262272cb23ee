"""What has changed in a Maildir since it was last looked at: messages that came, went, or got other flags.

Told by comparing names: a message is its base name, whatever directory and flags it has. A notice only says
which names to look at; whoever missed notices looks at everything, and is told the same changes.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from storage.directory import Directory
from storage.folders import Layout
from storage.listing import PARTS, Folder, enter_folder, entries, folders
from storage.names import base_of


@dataclass(frozen=True, slots=True)
class Change:
    """One message that changed."""

    kind: str  # arrived, flags, deleted
    folder: str
    parts: tuple[str, ...]  # the folder's directories below the Maildir
    name: str  # "new/NAME" or "cur/NAME"; of what is deleted, the last one known
    flags: str
    flags_before: str = ""


# Where a message is: "new/NAME".
_Paths = dict[str, str]


class MaildirView:
    """What was there at the last look. Some 200 octets a message."""

    def __init__(self, layout: Layout, *, is_new: bool = False) -> None:
        """is_new: the Maildir was made just now, so whatever is in it has arrived."""
        self._layout = layout
        self._is_first = not is_new
        self._known: dict[tuple[str, ...], _Paths] = {}  # by folder and base
        self._names: dict[tuple[str, ...], str] = {}
        self._doubtful: set[tuple[str, ...]] = set()

    def look(self, maildir: Directory) -> list[Change]:
        """Look at everything; the first time, what is there is no change. OSError."""
        changes: list[Change] = []
        found = {folder.parts: folder for folder in folders(maildir, self._layout)}
        for parts in [each for each in self._known if each not in found]:
            changes += self._gone(parts)
        for folder in found.values():
            changes += self._look_at(maildir, folder)
        self._doubtful.clear()
        is_first, self._is_first = self._is_first, False
        return [] if is_first else changes

    def notice(self, maildir: Directory, paths: Iterable[tuple[str, ...]]) -> list[Change]:
        """Look at what notices name, each a path below the Maildir. OSError.

        A message whose old name is gone and whose new one was not named is in doubt: is_settled() says so,
        and settle() finds out.
        """
        changes: list[Change] = []
        touched: dict[tuple[str, ...], set[tuple[str, str]]] = {}
        for path in paths:
            if len(path) >= 2 and path[-2] in PARTS and path[:-2] in self._known:
                touched.setdefault(path[:-2], set()).add((path[-2], path[-1]))
            elif "tmp" not in path[-2:]:
                return self.look(maildir)  # a folder that came, went or was renamed
        for parts, names in touched.items():
            changes += self._notice_in(maildir, parts, names)
        return changes

    def is_settled(self) -> bool:
        """Tell whether no message is in doubt."""
        return not self._doubtful

    def settle(self, maildir: Directory) -> list[Change]:
        """Look at the folders with messages in doubt. OSError."""
        changes: list[Change] = []
        for parts in list(self._doubtful):
            changes += self._look_at(maildir, Folder(self._names[parts], parts))
        self._doubtful.clear()
        return changes

    def _look_at(self, maildir: Directory, folder: Folder) -> list[Change]:
        """Compare a folder with its listing."""
        try:
            directory = enter_folder(maildir, folder)
        except (FileNotFoundError, NotADirectoryError):
            return self._gone(folder.parts)
        known = self._known.setdefault(folder.parts, {})
        self._names[folder.parts] = folder.name
        there: _Paths = {}
        for part in PARTS:
            # Where there is no directory, but a file or a link, there is no mail of this folder.
            with suppress(NotADirectoryError):
                for entry in entries(directory, part):
                    if not entry.name.startswith("."):
                        there[base_of(entry.name)] = f"{part}/{entry.name}"
        changes: list[Change] = []
        for base, path in there.items():
            changes += _compared(folder, known.get(base), path)
        changes += [_deleted(folder, path) for base, path in known.items() if base not in there]
        self._known[folder.parts] = there
        return changes

    def _notice_in(
        self, maildir: Directory, parts: tuple[str, ...], names: set[tuple[str, str]]
    ) -> Iterator[Change]:
        """Compare some names of a folder with what is there."""
        folder, known = Folder(self._names[parts], parts), self._known[parts]
        vanished: set[str] = set()
        with suppress(FileNotFoundError, NotADirectoryError):
            directory = enter_folder(maildir, folder)
            for part, name in names:
                base, path = base_of(name), f"{part}/{name}"
                if not _is_there(directory, path):
                    vanished.add(base)
                    continue
                yield from _compared(folder, known.get(base), path)
                known[base] = path
            for base in vanished:
                if base in known and not _is_there(directory, known[base]):
                    self._doubtful.add(parts)
            return
        self._doubtful.add(parts)

    def _gone(self, parts: tuple[str, ...]) -> list[Change]:
        """Forget a folder; its messages are gone with it."""
        self._doubtful.discard(parts)
        folder = Folder(self._names.pop(parts, ""), parts)
        return [_deleted(folder, path) for path in self._known.pop(parts, {}).values()]


def _is_there(folder: Directory, path: str) -> bool:
    try:
        os.lstat(path, dir_fd=folder.fd)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _compared(folder: Folder, before: str | None, now: str) -> Iterator[Change]:
    if before is None:
        yield Change("arrived", folder.name, folder.parts, now, _flags(now))
    elif _flags(before) != _flags(now):
        yield Change("flags", folder.name, folder.parts, now, _flags(now), _flags(before))


def _deleted(folder: Folder, path: str) -> Change:
    return Change("deleted", folder.name, folder.parts, path, _flags(path))


def _flags(path: str) -> str:
    return path.partition(":2,")[2]
