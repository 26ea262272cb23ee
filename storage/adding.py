"""Messages put into a folder by an administrator: with their flags and dates, durable, many at a time.

    write each in tmp/ -> fsync them together -> [Dovecot's lock] rename each -> fsync new/ and cur/

So nothing is visible before it is complete and on the disk, as with a delivery, and a group shares what
syncing costs. A crash leaves files in tmp/, which `maildir-clean` removes; what was visible stays.
"""

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Self

from storage import uidlist
from storage.directory import Directory
from storage.errors import from_oserror
from storage.names import NameSource, with_sizes
from storage.opening import repair
from storage.staging import Staged

# Syncs at the same time share the journal's commits (jbd2 and XFS group them).
_SYNCS = 8


@dataclass(frozen=True, slots=True)
class Place:
    """Where and how a message is to appear."""

    part: str  # "new", or "cur" where it has flags
    flags: str  # letters of the folder that it is put into
    arrived_ns: int  # since 1970; its modification time


class Adding:
    """A group of messages on its way into one open folder. Leaving the context discards what is unpublished.

    Confined to one thread.
    """

    def __init__(self, folder: Directory, names: NameSource) -> None:
        """Open new/, cur/ and tmp/, made where they are missing. OSError."""
        self._folder = folder
        self._names = names
        self._tmp, new = repair(folder)
        self._parts = {"new": new, "cur": folder.enter("cur")}
        self._staged: list[tuple[Staged, str]] = []
        self._cleanup = ExitStack()
        self.octets = 0  # staged so far

    def __len__(self) -> int:
        return len(self._staged)

    def stage(self, content: Iterable[bytes], place: Place) -> None:
        """Write a message in tmp/. StorageError: nothing of it is left."""
        disk, name = self._folder.disk, self._names.next()
        try:
            fd = disk.create(name, dir_fd=self._tmp.fd)
        except OSError as exc:
            raise from_oserror(exc) from exc
        staged = Staged(
            disk,
            name,
            fd,
            tmp=self._tmp,
            new=self._parts[place.part],
            sync_file=disk.sync,
            error=from_oserror,
        )
        try:
            wire_octets = 0
            last = b""
            for piece in content:
                staged.write(piece)
                wire_octets += len(piece) + piece.count(b"\n") - piece.count(b"\r\n")
                wire_octets -= last.endswith(b"\r") and piece.startswith(b"\n")
                last = piece or last
            os.utime(staged.fd, ns=(place.arrived_ns, place.arrived_ns))
        except BaseException:
            staged.discard()
            raise
        self._cleanup.callback(staged.discard)
        final = with_sizes(name, staged.octets, wire_octets)
        if place.part == "cur":
            final += ":2," + "".join(sorted(set(place.flags)))
        self._staged.append((staged, final))
        self.octets += staged.octets

    def publish(self) -> list[str]:
        """Make all of them durable and visible; return their names. StorageError, Locked, OSError.

        Dovecot gives them UIDs in the order in which they were staged, all of them at once.
        """
        staged, self._staged = self._staged, []
        with ThreadPoolExecutor(min(_SYNCS, len(staged) or 1)) as pool:
            # list: the first error is raised; the others are discarded by close().
            list(pool.map(Staged.sync, (each for each, _ in staged)))
        with uidlist.locked(self._folder):
            for each, final in staged:
                each.publish(final)
        for part in self._parts.values():
            part.sync()
        self.octets = 0
        return [final for _, final in staged]

    def close(self) -> None:
        """Discard what was not published."""
        self._cleanup.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()
