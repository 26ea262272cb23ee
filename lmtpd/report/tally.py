"""Counters of all processes of a server, which outlive each of them.

One file in memory, made before the first fork, with a sheet for each process, which is its only writer: so
no lock spans processes, and a reader sees figures that are a moment old at worst.  Whoever takes over the
sheet of a process that has ended counts on where that one stopped, so a sum never falls.

A sheet is a list of slots: a value, and the key that says what it counts.  So nobody has to declare what is
counted: a key that comes for the first time takes the next free slot.
"""

import mmap
import os
import struct
from collections.abc import Iterator
from contextlib import suppress

Key = tuple[str, ...]  # a metric's name, and the values of its labels

SLOTS = 512  # some 250 are used at most; what comes behind the last is counted as OVERFLOW
SHEET_OCTETS = 64 * SLOTS  # a multiple of the page size, as mmap(2) wants
OVERFLOW: Key = ("overflow",)

_SLOT = struct.Struct("=dB55s")  # the value, the length of the key, the key
_KEY_OCTETS = 55
_WORDS = _SLOT.size // 8


class Tally:
    """The file.  Made by the first process; inherited by all others."""

    def __init__(self) -> None:
        self._fd = os.memfd_create("lmtpd-tally", os.MFD_CLOEXEC)
        self._octets = 0

    def hold(self, sheets: int) -> None:
        """Make room for so many sheets.  By the first process only; never takes room away."""
        octets = sheets * SHEET_OCTETS
        if octets > self._octets:
            # Refused (a limit on the size of files): those without a sheet count for themselves.
            with suppress(OSError):
                os.ftruncate(self._fd, octets)
                self._octets = octets

    def sheet(self, number: int) -> "Sheet":
        """Take a sheet: one process at a time, which is its only writer."""
        try:
            return Sheet(mmap.mmap(self._fd, SHEET_OCTETS, offset=number * SHEET_OCTETS))
        except (OSError, ValueError):  # ValueError: behind the end
            return Sheet()

    def read(self) -> list[dict[Key, float]]:
        """Read all sheets, in the order of their numbers."""
        octets = os.fstat(self._fd).st_size
        return [dict(_entries(os.pread(self._fd, SHEET_OCTETS, at))) for at in range(0, octets, SHEET_OCTETS)]


class Sheet:
    """The counters of one process.  For one thread at a time: the caller sees to it."""

    def __init__(self, memory: mmap.mmap | None = None) -> None:
        """memory: a stretch of the tally; without it nobody else sees what is counted."""
        self._memory = memory if memory is not None else mmap.mmap(-1, SHEET_OCTETS)
        self._values = memoryview(self._memory).cast("d")
        self._at = {key: _WORDS * number for number, (key, _) in enumerate(_entries(self._memory[:]))}

    def add(self, key: Key, amount: float = 1.0) -> None:
        """Count."""
        self._values[self._place(key)] += amount

    def set(self, key: Key, value: float) -> None:
        """Keep the latest value: a moment, say."""
        self._values[self._place(key)] = value

    def read(self) -> dict[Key, float]:
        """Return what is counted."""
        return {key: self._values[at] for key, at in self._at.items()}

    def _place(self, key: Key) -> int:
        at = self._at.get(key)
        if at is not None:
            return at
        if len(self._at) >= SLOTS - 1:
            return self._at[OVERFLOW] if OVERFLOW in self._at else self._enter(OVERFLOW)
        return self._enter(key)

    def _enter(self, key: Key) -> int:
        number = len(self._at)
        octets = "\0".join(key).encode(errors="replace")
        if len(octets) > _KEY_OCTETS:
            raise ValueError(f"{key}: a key has {_KEY_OCTETS} octets at most")
        # The value is zero; the length comes last, for it is what makes the slot one that is read.
        self._memory[_SLOT.size * number + 9 : _SLOT.size * number + 9 + len(octets)] = octets
        self._memory[_SLOT.size * number + 8] = len(octets)
        self._at[key] = _WORDS * number
        return _WORDS * number


def _entries(octets: bytes) -> Iterator[tuple[Key, float]]:
    for value, length, key in _SLOT.iter_unpack(octets):
        if not length:
            return
        yield tuple(key[:length].decode(errors="replace").split("\0")), value
