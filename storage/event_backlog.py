"""Events that wait for their receivers, each receiver with a queue, an order and figures of its own.

One SQLite file in the state directory, written by the process that sends. An event is in it, durably, before
it goes from the ledger, and goes from it when its receiver has taken it: a kill or a power cut repeats the
last events, and loses none. What exceeds a receiver's bounds is deleted, the oldest first, and counted.
"""

import sqlite3
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from storage.database import BUSY_TIMEOUT_S, Schema
from storage.ledger_events import EventsError
from storage.reading import reading
from storage.turns import Turns

_SCHEMA = Schema(
    name="events",
    steps={
        "backlog": [
            """CREATE TABLE waiting (
                receiver TEXT NOT NULL,
                number INTEGER NOT NULL,    -- in the order of what happened
                at REAL NOT NULL,           -- when it came here, seconds since 1970
                octets INTEGER NOT NULL,
                event TEXT NOT NULL,
                PRIMARY KEY (receiver, number)
            ) WITHOUT ROWID""",
            """CREATE TABLE receivers (
                name TEXT NOT NULL PRIMARY KEY,
                last_number INTEGER NOT NULL DEFAULT 0,
                queued INTEGER NOT NULL DEFAULT 0,
                octets INTEGER NOT NULL DEFAULT 0,
                sent INTEGER NOT NULL DEFAULT 0,
                failed INTEGER NOT NULL DEFAULT 0,  -- attempts
                dropped INTEGER NOT NULL DEFAULT 0,
                error TEXT NOT NULL DEFAULT ''
            ) WITHOUT ROWID""",
        ],
    },
)


@dataclass(frozen=True, slots=True)
class Waiting:
    """An event in a receiver's queue."""

    number: int
    event: str  # one line of JSON


@dataclass(frozen=True, slots=True)
class Standing:
    """A receiver's figures: its queue now, and counts since it was first configured."""

    name: str
    queued: int
    octets: int
    sent: int
    failed: int
    dropped: int
    oldest_at: float | None
    error: str  # of the last attempt; "" if it succeeded


class EventBacklog:
    """One process's access; any thread may call any method. All raise EventsError."""

    def __init__(self, path: Path, *, durable: bool = True, busy_timeout_s: float = BUSY_TIMEOUT_S) -> None:
        self._path = path
        self._turns = Turns(path, _SCHEMA, EventsError, durable=durable, busy_timeout_s=busy_timeout_s)

    def add(self, queues: Iterable[tuple[str, Sequence[str]]]) -> None:
        """Put events at the end of receivers' queues; durable on return."""

        def insert(connection: sqlite3.Connection) -> None:
            now = time.time()
            for receiver, events in queues:
                connection.execute("INSERT OR IGNORE INTO receivers (name) VALUES (?)", (receiver,))
                ((last,),) = connection.execute(
                    "SELECT last_number FROM receivers WHERE name = ?", (receiver,)
                ).fetchall()
                sizes = [len(event.encode("utf-8", "surrogatepass")) for event in events]
                connection.executemany(
                    "INSERT INTO waiting (receiver, number, at, octets, event) VALUES (?, ?, ?, ?, ?)",
                    [
                        (receiver, last + place, now, size, event)
                        for place, (size, event) in enumerate(zip(sizes, events, strict=True), 1)
                    ],
                )
                connection.execute(
                    "UPDATE receivers SET last_number = last_number + ?1, queued = queued + ?1,"
                    " octets = octets + ?2 WHERE name = ?3",
                    (len(events), sum(sizes), receiver),
                )

        self._turns.take(insert)

    def next(self, receiver: str, at_most: int) -> list[Waiting]:
        """Return the oldest events of a queue."""
        return self._turns.take(
            lambda connection: [
                Waiting(*row)
                for row in connection.execute(
                    "SELECT number, event FROM waiting WHERE receiver = ? ORDER BY number LIMIT ?",
                    (receiver, at_most),
                )
            ],
            synced=False,
        )

    def taken(self, receiver: str, events: Sequence[Waiting]) -> None:
        """Delete what a receiver has taken."""

        def delete(connection: sqlite3.Connection) -> None:
            # Some may have been dropped meanwhile, and are sent all the same.
            _delete(connection, receiver, "number BETWEEN ? AND ?", (events[0].number, events[-1].number))
            connection.execute(
                "UPDATE receivers SET sent = sent + ?, error = '' WHERE name = ?",
                (len(events), receiver),
            )

        if events:
            self._turns.take(delete, synced=False)

    def failed(self, receiver: str, error: str) -> None:
        """Note that an attempt has failed."""
        self._turns.take(
            lambda connection: connection.execute(
                "UPDATE receivers SET failed = failed + 1, error = ? WHERE name = ?", (error, receiver)
            ),
            synced=False,
        )

    def bound(self, receiver: str, *, keep_s: float, keep_octets: int) -> int:
        """Drop what is too old or too much, the oldest first; return how many events that were."""

        def drop(connection: sqlite3.Connection) -> int:
            before = time.time() - keep_s
            count = _delete(connection, receiver, "at < ?", (before,))
            ((octets,),) = connection.execute(
                "SELECT coalesce(sum(octets), 0) FROM receivers WHERE name = ?", (receiver,)
            ).fetchall()
            if octets > keep_octets:
                last = _last_to_go(connection, receiver, octets - keep_octets)
                count += _delete(connection, receiver, "number <= ?", (last,))
            if count:
                connection.execute(
                    "UPDATE receivers SET dropped = dropped + ? WHERE name = ?", (count, receiver)
                )
            return count

        return self._turns.take(drop, synced=False)

    def keep_only(self, receivers: Sequence[str]) -> dict[str, int]:
        """Forget receivers that are no more; return how many events waited for each of them."""

        def forget(connection: sqlite3.Connection) -> dict[str, int]:
            gone = {
                str(name): int(queued)
                for name, queued in connection.execute("SELECT name, queued FROM receivers")
                if name not in receivers
            }
            for name in gone:
                connection.execute("DELETE FROM waiting WHERE receiver = ?", (name,))
                connection.execute("DELETE FROM receivers WHERE name = ?", (name,))
            connection.executemany(
                "INSERT OR IGNORE INTO receivers (name) VALUES (?)", [(name,) for name in receivers]
            )
            return gone

        return self._turns.take(forget)

    def close(self) -> None:
        """Close the file; later calls raise EventsError."""
        self._turns.close()


def standings(path: Path, *, timeout_s: float) -> list[Standing]:
    """Read all receivers' figures, beside whoever writes. Raises sqlite3.Error."""
    if not path.exists():
        return []
    with reading(path, timeout_s=timeout_s) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'receivers'").fetchall():
            return []  # it is being made
        rows = connection.execute(
            "SELECT name, queued, octets, sent, failed, dropped,"
            " (SELECT at FROM waiting WHERE receiver = name ORDER BY number LIMIT 1), error"
            " FROM receivers ORDER BY name"
        ).fetchall()
    return [Standing(*row) for row in rows]


def _delete(connection: sqlite3.Connection, receiver: str, condition: str, values: tuple[object, ...]) -> int:
    """Delete events from a queue and its figures; conditions are texts of this module."""
    where = f"receiver = ? AND {condition}"
    ((count, octets),) = connection.execute(
        f"SELECT count(*), coalesce(sum(octets), 0) FROM waiting WHERE {where}",  # noqa: S608
        (receiver, *values),
    ).fetchall()
    if count:
        connection.execute(f"DELETE FROM waiting WHERE {where}", (receiver, *values))  # noqa: S608
        connection.execute(
            "UPDATE receivers SET queued = queued - ?, octets = octets - ? WHERE name = ?",
            (count, octets, receiver),
        )
    return int(count)


def _last_to_go(connection: sqlite3.Connection, receiver: str, excess: int) -> int:
    """Return the number of the event with which enough of the oldest are gone."""
    last = 0
    for number, octets in connection.execute(
        "SELECT number, octets FROM waiting WHERE receiver = ? ORDER BY number", (receiver,)
    ):
        last = number
        excess -= octets
        if excess <= 0:
            break
    return last
