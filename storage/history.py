"""The history: what became of every recipient of every message, for the administrator's questions.

Written behind the replies, in batches, and never in their way: losing its last moments in a power cut
is allowed, losing a message for its sake is not.  So its commits wait for no disk, its errors are its
own (HistoryError), and its file and lock are not the ledger's.

The file is open to anything that reads SQLite, such as datasette: in the view `history` there is one row
for each recipient's outcome.  Text that is not known is NULL.  `at` is in seconds since 1970; `phases` is a
JSON object of milliseconds, by the name of the step.  Every column one searches by is indexed, so an answer
takes a few pages of ten million rows.
"""

import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar, Unpack

from storage import history_segments as tables
from storage.database import BUSY_TIMEOUT_S
from storage.history_rows import HistoryRow, Question, row_of, values_of
from storage.names import base_of
from storage.reading import reading
from storage.turns import Turns

__all__ = ["History", "HistoryError", "HistoryRow", "HistorySlow", "Question"]

T = TypeVar("T")

# A row touches a page of each index, and Message-IDs and senders come in no order.  Pages that are kept
# (16 MiB), and a log (32 MiB) that gathers many changes of one page before it is copied, halve the work.
_CACHE_KIB = 16 << 10
_CHECKPOINT_PAGES = 8000
_LOG_OCTETS = 48 << 20

SEGMENT_S = 86_400.0
SEGMENT_ROWS = 200_000  # some 160 MB; ten million rows are 50 segments to look into
_ROW_OCTETS = 1_000  # more than a usual row takes with its indexes
LATE_STEPS = 1000  # of SQLite, between two looks at the clock: far below a millisecond
_TOO_SLOW = "{}: nothing was found in time"
_SEGMENTS_IN_BOUND = 8  # when the size is bounded, so that what goes at once is a small part


class HistoryError(Exception):
    """The history could not be written or read."""


class HistorySlow(HistoryError):
    """What was asked could not be found in the time that was given."""


class History:
    """One process's access to the history at path; any thread may call any method.

    Nothing is opened before it is needed.  After an error the file is opened anew the next time, and
    one that was deleted is made again.  All methods but close() raise HistoryError.
    """

    def __init__(
        self,
        path: Path,
        *,
        octets: int = 0,
        segment_s: float = SEGMENT_S,
        segment_rows: int = SEGMENT_ROWS,
        busy_timeout_s: float = BUSY_TIMEOUT_S,
        give_up_at: float | None = None,
    ) -> None:
        """octets: what prune() leaves at most, about; 0: no bound.

        give_up_at: of time.monotonic(), from which on reading is HistorySlow.
        """
        self._path = path
        self._octets = octets
        self._segment_s = segment_s
        self._segment_rows = segment_rows
        if octets:
            self._segment_rows = max(1, min(segment_rows, octets // _ROW_OCTETS // _SEGMENTS_IN_BOUND))
        self._busy_timeout_s = busy_timeout_s
        self._give_up_at = give_up_at
        self._turns = Turns(
            path, tables.SCHEMA, HistoryError, durable=False, opened=_tune, busy_timeout_s=busy_timeout_s
        )

    def add(self, rows: Sequence[HistoryRow]) -> None:
        """Write rows down, all or none; a kill does not lose them, a power cut may."""
        values = [values_of(row) for row in rows]
        if values:
            self._turns.take(lambda connection: self._insert(connection, values))

    def prune(self, days: float) -> int:
        """Remove segments all of whose rows are that old, then the oldest until the size is in bounds.

        Returns how many rows are gone.  In steps, so that others can add in between.
        """
        before = time.time() - days * 86_400
        count = 0
        while (
            found := self._turns.take(lambda connection: self._superfluous(connection, before))
        ) is not None:
            segment, rows = found
            count += rows
            shrink = partial(tables.shrink, segment=segment)
            while not self._turns.take(shrink):
                pass
        return count

    def find(self, *, limit: int = 100, **question: Unpack[Question]) -> list[HistoryRow]:
        """Return the newest rows that fit all that is given, newest first.

        Only reads: it works beside a server, and for whoever may read the file and its companions.
        """
        asked: dict[str, object] = {
            name: value for name, value in question.items() if value is not None and value != ""
        }
        if "file" in question:
            asked["file"] = base_of(os.path.basename(question["file"]))
        return self._read(lambda connection: _find(connection, asked, limit))

    def newest_id(self) -> int:
        """Return the id of the row that was written last; 0: there is none.  Only reads."""
        return self._read(lambda connection: tables.newest(connection).next_id(connection) - 1)

    def rows(self) -> int:
        """Count the rows, about.  Only reads."""
        return self._read(_count)

    def close(self) -> None:
        """Close the file; later writes raise HistoryError.  May be called again."""
        self._turns.close()

    def _insert(self, connection: sqlite3.Connection, rows: Sequence[Sequence[object]]) -> None:
        segment = tables.newest(connection)
        next_id = segment.next_id(connection)
        count = next_id - segment.first_id
        is_full = count >= self._segment_rows or time.time() - segment.begun >= self._segment_s
        if count and is_full:
            segment = tables.begin(connection, segment, next_id=next_id)
        tables.insert(connection, segment, rows, at_id=next_id)

    def _superfluous(
        self, connection: sqlite3.Connection, before: float
    ) -> tuple[tables.Segment, int] | None:
        """Return the oldest segment and its rows, if it has to go; what comes meanwhile goes to another."""
        *_, oldest = known = tables.segments(connection)
        span = oldest.span(connection)
        is_too_much = bool(self._octets) and tables.octets(connection) > self._octets and len(known) > 1
        if not is_too_much and (span is None or span[1] >= before):
            return None
        if len(known) == 1:
            tables.begin(connection, oldest, next_id=oldest.next_id(connection))
        return oldest, oldest.rows(connection)

    def _read(self, task: Callable[[sqlite3.Connection], T]) -> T:
        if self._is_late():
            raise HistorySlow(_TOO_SLOW.format(self._path))
        try:
            with reading(self._path, timeout_s=self._busy_timeout_s) as connection:
                if self._give_up_at is not None:
                    connection.set_progress_handler(self._is_late, LATE_STEPS)
                connection.execute("BEGIN")  # one state of all segments
                return task(connection)
        except sqlite3.Error as exc:
            if getattr(exc, "sqlite_errorcode", 0) == sqlite3.SQLITE_INTERRUPT:
                raise HistorySlow(_TOO_SLOW.format(self._path)) from exc
            raise self._turns.named(exc) from exc

    def _is_late(self) -> bool:
        return self._give_up_at is not None and time.monotonic() >= self._give_up_at


def _tune(connection: sqlite3.Connection) -> None:
    connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
    connection.execute(f"PRAGMA journal_size_limit = {_LOG_OCTETS}")


def _find(connection: sqlite3.Connection, asked: dict[str, object], limit: int) -> list[HistoryRow]:
    """Ask the segments, the newest first; older ones only if they may have newer rows than were found."""
    found: list[HistoryRow] = []
    for segment in tables.holding(connection, asked):
        if len(found) == limit:
            span = segment.span(connection)
            if span is None or span[1] < found[-1].at:
                continue
        rows = connection.execute(tables.selection(segment.table, asked.keys()), {**asked, "limit": limit})
        found += map(row_of, rows.fetchall())
        found.sort(key=lambda row: (row.at, row.id), reverse=True)
        del found[limit:]
    return found


def _count(connection: sqlite3.Connection) -> int:
    first, *_, last = [*(known := tables.segments(connection)), *known[-1:]]
    return first.next_id(connection) - last.first_id
