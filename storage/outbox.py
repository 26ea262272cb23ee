"""Messages that we owe and have not sent yet: written down before the reply, sent at least once behind it.

Each is owed for something, a delivery say, that has a key; what has been owed for a key once is never owed
for it again, so a delivery that is recognised at a retry brings no second message. Keys are kept as long as
retries come.

Who sends takes what is due for a while (a lease); when he dies over it, it is due again after that.
"""

import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from storage.database import BUSY_TIMEOUT_S, Schema
from storage.turns import Turns

_SCHEMA = Schema(
    name="outbox",
    steps={
        "outbox": [
            """CREATE TABLE outgoing (
                id INTEGER PRIMARY KEY,
                recipient TEXT NOT NULL,
                message BLOB NOT NULL,
                created REAL NOT NULL,      -- seconds since 1970, as due
                due REAL NOT NULL,
                attempts INTEGER NOT NULL
            )""",
            "CREATE INDEX outgoing_due ON outgoing (due)",
            "CREATE TABLE owed (key BLOB NOT NULL PRIMARY KEY, at REAL NOT NULL) WITHOUT ROWID",
        ],
    },
)

# Of messages that wait. Each is some KiB; nobody gets to fill the disk with what he asks to be told.
CAPACITY = 10_000


class OutboxError(Exception):
    """The outbox could not be written or read."""


class OutboxFull(OutboxError):
    """Too much waits already; nothing was added."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to be sent, with CRLF line ends."""

    id: int
    recipient: str  # an address without brackets
    message: bytes
    created: float
    attempts: int  # so far


class Outbox:
    """One process's access to the outbox at path; any thread may call any method. All raise OutboxError.

    Nothing is opened before it is needed, and anew after an error.
    """

    def __init__(
        self,
        path: Path,
        *,
        capacity: int = CAPACITY,
        durable: bool = True,
        busy_timeout_s: float = BUSY_TIMEOUT_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._path = path
        self._capacity = capacity
        self._clock = clock
        self._turns = Turns(path, _SCHEMA, OutboxError, durable=durable, busy_timeout_s=busy_timeout_s)

    def owe(self, recipient: str, keys: Sequence[bytes], compose: Callable[[Sequence[int]], bytes]) -> bool:
        """Add one message for those of keys that nothing was owed for yet; durable on return.

        compose gets their places in keys and returns the message; it is not called, and False is returned,
        if there are none. OutboxFull.
        """

        def add(connection: sqlite3.Connection) -> bool:
            now = self._clock()
            fresh = [place for place, key in enumerate(keys) if _remember(connection, key, now)]
            if not fresh:
                return False
            ((waiting,),) = connection.execute("SELECT COUNT(*) FROM outgoing").fetchall()
            if waiting >= self._capacity:
                raise OutboxFull(f"{waiting} messages wait in {self._path}")
            connection.execute(
                "INSERT INTO outgoing (recipient, message, created, due, attempts) VALUES (?, ?, ?, ?, 0)",
                (recipient, compose(fresh), now, now),
            )
            return True

        return self._turns.take(add)

    def take_due(self, *, lease_s: float, at_most: int) -> list[Outgoing]:
        """Take messages that are due, the oldest first; for lease_s nobody else gets them."""

        def take(connection: sqlite3.Connection) -> list[Outgoing]:
            now = self._clock()
            rows = connection.execute(
                "SELECT id, recipient, message, created, attempts FROM outgoing"
                " WHERE due <= ? ORDER BY due LIMIT ?",
                (now, at_most),
            ).fetchall()
            connection.executemany(
                "UPDATE outgoing SET due = ? WHERE id = ?", [(now + lease_s, row[0]) for row in rows]
            )
            return [Outgoing(*row) for row in rows]

        return self._turns.take(take)

    def done(self, outgoing: Outgoing) -> None:
        """Forget a message: it was sent, or given up."""
        self._turns.take(
            lambda connection: connection.execute("DELETE FROM outgoing WHERE id = ?", (outgoing.id,))
        )

    def try_again(self, outgoing: Outgoing, *, after_s: float) -> None:
        """Make a message due later."""
        values = (self._clock() + after_s, outgoing.attempts + 1, outgoing.id)
        self._turns.take(
            lambda connection: connection.execute(
                "UPDATE outgoing SET due = ?, attempts = ? WHERE id = ?", values
            )
        )

    def due_in_s(self) -> float | None:
        """Return in how many seconds the next message is due, 0 if it is; None if there is none."""

        def ask(connection: sqlite3.Connection) -> float | None:
            ((due,),) = connection.execute("SELECT MIN(due) FROM outgoing").fetchall()
            return None if due is None else max(0.0, due - self._clock())

        return self._turns.take(ask)

    def prune(self, older_than_s: float) -> None:
        """Forget for which keys something was owed that long ago."""
        before = self._clock() - older_than_s
        self._turns.take(lambda connection: connection.execute("DELETE FROM owed WHERE at < ?", (before,)))

    def close(self) -> None:
        """Close the file; later calls raise OutboxError. May be called again; never raises."""
        self._turns.close()


def _remember(connection: sqlite3.Connection, key: bytes, now: float) -> bool:
    """Note that something is owed for key; False if it was before."""
    cursor = connection.execute("INSERT OR IGNORE INTO owed (key, at) VALUES (?, ?)", (key, now))
    return cursor.rowcount == 1
