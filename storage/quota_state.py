"""What is remembered of mailboxes that are full, or nearly: since when, and what their owners were told.

One SQLite file in the state directory, shared by all workers and kept over restarts. A mailbox has a row
only while there is something to remember, so the file is small; nothing is asked of it for a delivery
into a mailbox that has room. Losing its last moments in a power cut is allowed.

Every change is made in one transaction that says whether it was this call that changed something, so of
several workers that see the same mailbox cross the same line one is told to act.
"""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from storage.database import BUSY_TIMEOUT_S, Schema
from storage.turns import Turns

T = TypeVar("T")

_SCHEMA = Schema(
    name="quota",
    steps={
        "mailbox": [
            """CREATE TABLE mailbox (
                maildir TEXT PRIMARY KEY,
                full_since REAL,
                level INTEGER NOT NULL DEFAULT 0
            ) WITHOUT ROWID""",
            """CREATE TABLE notice (
                id INTEGER PRIMARY KEY,
                maildir TEXT NOT NULL,
                address TEXT NOT NULL,
                level INTEGER NOT NULL,
                at REAL NOT NULL,
                octets INTEGER NOT NULL,
                messages INTEGER NOT NULL,
                limit_text TEXT NOT NULL
            )""",
        ],
        # After a restart the mailbox is found again by an address that leads to it.
        "address": ["ALTER TABLE mailbox ADD COLUMN address TEXT NOT NULL DEFAULT ''"],
    },
)


class QuotaStateError(Exception):
    """The file could not be read or written; nothing was changed."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """What is known of one mailbox; nothing, for most."""

    full_since: float | None = None  # seconds since 1970
    level: int = 0  # the highest threshold, in percent, that its owner was told of and that still holds
    address: str = ""  # of its owner


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that a mailbox's owner is to be told. level 0: there is room again."""

    id: int
    maildir: str
    address: str
    level: int
    at: float
    octets: int
    messages: int
    limit: str


class QuotaState:
    """The file. Made after the fork; any thread may use it. Every method may raise QuotaStateError.

    Some take `telling`, which is called if something changes, before that is written down: killed in between,
    the same change is found again, and told of twice. It must not use this file.
    """

    def __init__(self, path: Path, *, busy_timeout_s: float = BUSY_TIMEOUT_S) -> None:
        """Nothing is opened, or made, before it is needed."""
        self._path = path
        self._turns = Turns(path, _SCHEMA, QuotaStateError, durable=False, busy_timeout_s=busy_timeout_s)

    def is_full(
        self, maildir: str, now: float, address: str = "", *, telling: Callable[[], object] | None = None
    ) -> float:
        """Remember that a mailbox is full; return since when it has been."""

        def enter(connection: sqlite3.Connection) -> float:
            is_new = connection.execute(
                "INSERT INTO mailbox (maildir, full_since, address) VALUES (?1, ?2, ?3)"
                " ON CONFLICT (maildir) DO UPDATE SET full_since = ?2, address = ?3 WHERE full_since IS NULL",
                (maildir, now, address),
            ).rowcount
            if is_new and telling is not None:
                telling()
            ((since,),) = connection.execute(
                "SELECT full_since FROM mailbox WHERE maildir = ?", (maildir,)
            ).fetchall()
            return float(since)

        return self._do(enter)

    def has_room(self, maildir: str, *, telling: Callable[[], object] | None = None) -> bool:
        """Forget that a mailbox was full; False if it was not known to be."""

        def clear(connection: sqlite3.Connection) -> bool:
            changed = connection.execute(
                "UPDATE mailbox SET full_since = NULL WHERE maildir = ? AND full_since IS NOT NULL",
                (maildir,),
            ).rowcount
            if changed and telling is not None:
                telling()
            _tidy(connection)
            return bool(changed)

        return self._do(clear)

    def change_level(
        self, before: int, notice: Notice, *, is_told: bool, telling: Callable[[], object] | None = None
    ) -> bool:
        """Move a mailbox from one threshold to that of notice, and enter this if it is to be told.

        before: what the caller believes; False if it is not so, for another worker was faster.
        """

        def move(connection: sqlite3.Connection) -> bool:
            connection.execute("INSERT OR IGNORE INTO mailbox (maildir) VALUES (?)", (notice.maildir,))
            moved = connection.execute(
                "UPDATE mailbox SET level = ?, address = ? WHERE maildir = ? AND level = ?",
                (notice.level, notice.address, notice.maildir, before),
            ).rowcount
            if moved and is_told:
                connection.execute(
                    "INSERT INTO notice (maildir, address, level, at, octets, messages, limit_text)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (notice.maildir, notice.address, notice.level, notice.at, notice.octets,
                     notice.messages, notice.limit),
                )  # fmt: skip
            if moved and telling is not None:
                telling()
            _tidy(connection)
            return bool(moved)

        return self._do(move)

    def notices(self) -> list[Notice]:
        """Return what is still to be told, oldest first."""
        return self._do(
            lambda connection: [
                Notice(*row)
                for row in connection.execute(
                    "SELECT id, maildir, address, level, at, octets, messages, limit_text"
                    " FROM notice ORDER BY id"
                )
            ]
        )

    def told(self, notice: Notice) -> None:
        """Forget a notice: it was told."""
        self._do(lambda connection: connection.execute("DELETE FROM notice WHERE id = ?", (notice.id,)))

    @property
    def exists(self) -> bool:
        """Whether there may be anything to remember."""
        return self._path.exists()

    def look(self) -> dict[str, Remembered]:
        """As all(), for another program than the server: a file that is not there is not made."""
        return self.all() if self.exists else {}

    def all(self) -> dict[str, Remembered]:
        """Return what is remembered, by the mailbox's path."""
        return self._do(
            lambda connection: {
                maildir: Remembered(full_since, level, address)
                for maildir, full_since, level, address in connection.execute(
                    "SELECT maildir, full_since, level, address FROM mailbox"
                )
            }
        )

    def close(self) -> None:
        """Close the file; later calls fail."""
        self._turns.close()

    def _do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return self._turns.take(work, synced=False)


def _tidy(connection: sqlite3.Connection) -> None:
    connection.execute("DELETE FROM mailbox WHERE full_since IS NULL AND level = 0")
