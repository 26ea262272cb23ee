"""Figures that all workers can read: one page of shared memory, one seat for each worker.

The rule: a seat is written by its worker only, so no lock spans processes; a reader may see a figure
that is a moment old. The supervisor gives seats out, and clears those of workers that have ended.
"""

import mmap
import os
import threading
from dataclasses import dataclass

from lmtpd.report.tally import Sheet, Tally

SEATS = 4096  # 256 workers at most, and those of several earlier generations that still have clients
_WORDS = 4  # of a seat: is it open for connections, how many has it, had it ever, its process
_USED = 0  # the board's first word: seats from here on were never taken
_FIRST = 1


class Board:
    """Made before the first fork; inherited by every worker.  What is counted is in its tally: sheet 0 is the
    supervisor's, the next that of the first seat.
    """

    def __init__(self) -> None:
        self.tally = Tally()
        self.tally.hold(1)
        self.words = memoryview(mmap.mmap(-1, 8 * (_FIRST + _WORDS * SEATS))).cast("Q")
        self._free = list(range(SEATS - 1, -1, -1))  # the lowest is taken first: scans stay short

    def take_seat(self) -> int:
        """Reserve a seat for the next worker."""
        seat = self._free.pop()
        self.words[_USED] = max(self.words[_USED], seat + 1)
        self.tally.hold(seat + 2)
        return seat

    def clear_seat(self, seat: int) -> None:
        """Take back the seat of a worker that has ended, however it ended."""
        at = _FIRST + _WORDS * seat
        self.words[at] = self.words[at + 1] = self.words[at + 3] = 0
        self._free.append(seat)
        self._free.sort(reverse=True)

    def connections(self) -> int:
        """Count the connections of all workers."""
        return sum(self.words[_FIRST + 1 : _FIRST + _WORDS * self.words[_USED] : _WORDS])

    def seats(self) -> list["Figures"]:
        """Return the figures of all seats that were ever taken, the lowest first."""
        words = self.words[_FIRST : _FIRST + _WORDS * self.words[_USED]].tolist()
        return [
            Figures(bool(words[at]), words[at + 1], words[at + 2], words[at + 3])
            for at in range(0, len(words), _WORDS)
        ]

    def fewest(self) -> int:
        """Return the connections of the worker that has fewest, among those that accept more."""
        end = _FIRST + _WORDS * self.words[_USED]
        words = self.words[_FIRST:end]
        return min((words[at + 1] for at in range(0, len(words), _WORDS) if words[at]), default=0)


@dataclass(frozen=True, slots=True)
class Figures:
    """What a seat shows."""

    is_open: bool
    connections: int
    accepted: int  # by all who ever had the seat
    pid: int  # 0: nobody has it


class Seat:
    """A worker's own place on the board; its methods may be called by any thread of that worker."""

    def __init__(self, board: Board, number: int) -> None:
        self._board = board
        self._words = board.words
        self._at = _FIRST + _WORDS * number
        self._number = number
        self._lock = threading.Lock()

    def sheet(self) -> Sheet:
        """Take the seat's sheet of the tally."""
        return self._board.tally.sheet(self._number + 1)

    def open(self) -> None:
        """Show that this worker accepts connections."""
        self._words[self._at + 3] = os.getpid()
        self._words[self._at] = 1

    def close(self) -> None:
        """Show that it accepts no more."""
        self._words[self._at] = 0

    def add(self) -> None:
        """Count a new connection."""
        with self._lock:
            self._words[self._at + 1] += 1
            self._words[self._at + 2] += 1

    def subtract(self) -> int:
        """Count the end of one; return how many are left in this worker."""
        with self._lock:
            self._words[self._at + 1] -= 1
            return self._words[self._at + 1]

    @property
    def connections(self) -> int:
        """Count the connections of this worker."""
        return self._words[self._at + 1]

    def has_more_than_its_share(self) -> bool:
        """Tell whether a worker with fewer connections could take the next one."""
        return self._words[self._at + 1] > self._board.fewest()

    def is_crowded(self, limit: int) -> bool:
        """Tell whether all workers together have more connections than limit."""
        return self._board.connections() > limit
