"""Events in the ledger: what is told of a delivery is durable with its record, before anything is published.

With the record an event is pending.  Once the file is published, a transaction that waits for no disk moves
it to what has happened; SQLite's log keeps the order of transactions, so wherever it is cut off there is the
event, or still the record, which tells at the next start whether its file is there.  So an event is lost
with its delivery only; it may come twice, and then has the same file, by which it is known.
"""

import sqlite3
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from storage import ledger_tables as tables
from storage.ledger_tables import Record
from storage.owners import is_alive
from storage.reading import reading
from storage.turns import Turns


class EventsError(Exception):
    """Events could not be read or written."""


@dataclass(frozen=True, slots=True)
class Happened:
    """An event as the ledger has it; maildir and name are those of a delivery's file."""

    number: int
    maildir: str | None
    name: str | None
    event: str


@dataclass(slots=True)
class _Queue:
    keys: list[bytes] = field(default_factory=list)  # of published records
    notes: list[str] = field(default_factory=list)  # of what has no record


class Happenings:
    """What one process has to write of events; any thread may call any method."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._queue = _Queue()

    def __bool__(self) -> bool:
        """Tell whether something waits to be written."""
        return bool(self._queue.keys or self._queue.notes)

    def put(self, keys: Iterable[bytes], notes: Iterable[str]) -> None:
        """Queue what has happened."""
        with self._mutex:
            self._queue.keys += keys
            self._queue.notes += notes

    def take(self) -> _Queue:
        """Hand over what is to be written."""
        with self._mutex:
            queue, self._queue = self._queue, _Queue()
        return queue

    def bound_notes(self, at_most: int) -> int:
        """Drop and count the oldest notes, but for so many."""
        with self._mutex:
            notes = self._queue.notes
            excess = max(0, len(notes) - at_most)
            del notes[:excess]
        return excess

    def put_back(self, queue: _Queue) -> None:
        """Take back what could not be written."""
        with self._mutex:
            self._queue.keys[:0] = queue.keys
            self._queue.notes[:0] = queue.notes


def announce(connection: sqlite3.Connection, records: Iterable[Record]) -> None:
    """Keep what is to be told of records once they are published; in the transaction that adds them."""
    events = [(record.key, record.event) for record in records if record.event is not None]
    if events:
        connection.executemany("INSERT OR REPLACE INTO pending (key, event) VALUES (?, ?)", events)


def write(connection: sqlite3.Connection, queue: _Queue) -> None:
    """Let what is pending for keys have happened, once; and add what has no record."""
    keys = [(key,) for key in queue.keys]
    connection.executemany(
        "INSERT INTO happened (maildir, name, event) SELECT maildir, name, event"
        " FROM pending JOIN records USING (key) WHERE key = ?",
        keys,
    )
    connection.executemany("DELETE FROM pending WHERE key = ?", keys)
    connection.executemany("INSERT INTO happened (event) VALUES (?)", [(note,) for note in queue.notes])


def forget(connection: sqlite3.Connection) -> None:
    """Delete what is pending for records that are gone."""
    connection.execute("DELETE FROM pending WHERE key NOT IN (SELECT key FROM records)")


def undecided(connection: sqlite3.Connection) -> list[Record]:
    """Return records on which nobody works and whose event is pending: published, or not."""
    rows = connection.execute(
        "SELECT key, maildir, tmp, name, owner FROM pending JOIN records USING (key)"
    ).fetchall()
    return [Record(*columns) for *columns, owner in rows if not is_alive(owner)]


def bound(connection: sqlite3.Connection, rows: int) -> int:
    """Delete the oldest of what has happened, but for so many; count what is deleted."""
    return connection.execute(
        "DELETE FROM happened WHERE number <= (SELECT max(number) FROM happened) - ?", (rows,)
    ).rowcount


class HappenedEvents:
    """What the sender takes from the ledger at path.  Raises EventsError."""

    def __init__(self, path: Path, *, timeout_s: float = 2.0) -> None:
        self._path = path
        self._timeout_s = timeout_s
        self._turns = Turns(path, tables.SCHEMA, EventsError, durable=False, busy_timeout_s=timeout_s)

    def look(self, at_most: int) -> list[Happened]:
        """Return the oldest, without waiting for those who write."""
        rows = self._ask(
            "SELECT number, maildir, name, event FROM happened ORDER BY number LIMIT ?", (at_most,)
        )
        return [Happened(*row) for row in rows]

    def count(self) -> int:
        """Count all, as look() does."""
        # They come and go in the order of their numbers.
        rows = self._ask("SELECT coalesce(max(number) - min(number) + 1, 0) FROM happened", ())
        return int(rows[0][0]) if rows else 0

    def done(self, events: Sequence[Happened]) -> None:
        """Delete the oldest, which are kept elsewhere now."""
        self._turns.take(
            lambda connection: connection.executemany(
                "DELETE FROM happened WHERE number = ?", [(event.number,) for event in events]
            ),
            synced=False,
        )

    def close(self) -> None:
        """Let go of the file."""
        self._turns.close()

    def _ask(self, query: str, values: tuple[object, ...]) -> list[tuple[Any, ...]]:  # SQLite's columns
        if not self._path.exists():
            return []
        try:
            with reading(self._path, timeout_s=self._timeout_s) as connection:
                if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'happened'").fetchall():
                    return []
                return connection.execute(query, values).fetchall()
        except sqlite3.Error as exc:
            raise self._turns.named(exc) from exc
