"""The history: what became of every recipient of every message, for the administrator's questions.

Written behind the replies, in batches, and never in their way: losing its last moments in a power cut
is allowed, losing a message for its sake is not.  So its commits wait for no disk, its errors are its
own (HistoryError), and its file and lock are not the ledger's.

The file is open to anything that reads SQLite, such as datasette: one table, `history`, one row for a
recipient's outcome.  Text that is not known is NULL.  `at` is in seconds since 1970; `phases` is a JSON
object of milliseconds, by the name of the step.  Every column one searches by is indexed, so an answer
takes a few pages of ten million rows.
"""

import json
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from operator import attrgetter
from pathlib import Path
from typing import Any

from storage.database import BUSY_TIMEOUT_S, Schema, SharedDatabase, how_to_set_aside, is_damage
from storage.names import base_of
from storage.reading import reading

_SCHEMA = Schema(
    name="history",
    steps={
        "history": [
            # Addresses are compared without regard to case: who asks does not know how they were written.
            """CREATE TABLE history (
                id INTEGER PRIMARY KEY,
                at REAL NOT NULL,
                transaction_id TEXT,
                queue_id TEXT,
                message_id TEXT,
                sender TEXT COLLATE NOCASE,
                recipient TEXT COLLATE NOCASE,
                original_recipient TEXT COLLATE NOCASE,
                mailbox TEXT,
                folder TEXT,
                file TEXT,
                octets INTEGER NOT NULL,
                outcome TEXT NOT NULL,
                reply TEXT,
                cause TEXT,
                client TEXT,
                helo TEXT,
                phases TEXT
            )""",
            "CREATE INDEX history_at ON history (at)",
            """CREATE INDEX history_transaction_id ON history (transaction_id)
                WHERE transaction_id IS NOT NULL""",
            "CREATE INDEX history_queue_id ON history (queue_id) WHERE queue_id IS NOT NULL",
            "CREATE INDEX history_message_id ON history (message_id) WHERE message_id IS NOT NULL",
            "CREATE INDEX history_file ON history (file) WHERE file IS NOT NULL",
            # One address may have a million rows, of which the newest are wanted: they come in order.
            "CREATE INDEX history_sender ON history (sender, at) WHERE sender IS NOT NULL",
            "CREATE INDEX history_recipient ON history (recipient, at) WHERE recipient IS NOT NULL",
            """CREATE INDEX history_original_recipient ON history (original_recipient, at)
                WHERE original_recipient IS NOT NULL""",
        ],
    },
)

# A row touches a page of each index, and Message-IDs and senders come in no order.  Pages that are kept
# (16 MiB), and a log (32 MiB) that gathers many changes of one page before it is copied, halve the work.
_CACHE_KIB = 16 << 10
_CHECKPOINT_PAGES = 8000
_LOG_OCTETS = 48 << 20

_PRUNED_AT_ONCE = 500  # rows; some 50 ms in a large file, during which nobody adds


class HistoryError(Exception):
    """The history could not be written or read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryRow:
    """What became of one recipient of one message; a text that is not known is empty."""

    at: float  # seconds since 1970
    outcome: str  # "delivered", "recognised", "deferred", "refused" or "dropped"
    transaction_id: str = ""
    queue_id: str = ""
    message_id: str = ""
    sender: str = ""
    recipient: str = ""  # as issued
    original_recipient: str = ""
    mailbox: str = ""  # the path
    folder: str = ""
    file: str = ""  # the final name, without flags
    octets: int = 0
    reply: str = ""
    cause: str = ""
    client: str = ""
    helo: str = ""
    phases: Mapping[str, float] = field(default_factory=dict)  # milliseconds


_COLUMNS = tuple(it.name for it in fields(HistoryRow))
_INSERT = f"INSERT INTO history ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608
_values_of = attrgetter(*_COLUMNS)

# What a question asks becomes conditions.  A key fits few rows; a file is found by its whole name and by
# the base that it had in tmp/: "," begins the sizes, and "-" follows "," in ASCII.
_KEYS = {
    "transaction_id": "transaction_id = :transaction_id",
    "queue_id": "queue_id = :queue_id",
    "message_id": "message_id = :message_id",
    "file": "file >= :file AND file < :file || '-'",
}
_SPAN = {"since": "at >= :since", "until": "at < :until"}
_ADDRESSES = ("sender = :address", "recipient = :address", "original_recipient = :address")


class History:
    """One process's access to the history at path; any thread may call any method.

    Nothing is opened before it is needed.  After an error the file is opened anew the next time, and
    one that was deleted is made again.  All methods but close() raise HistoryError.
    """

    def __init__(self, path: Path, *, busy_timeout_s: float = BUSY_TIMEOUT_S) -> None:
        self._path = path
        self._busy_timeout_s = busy_timeout_s
        self._file = SharedDatabase(path, _SCHEMA, durable=False, opened=_tune, busy_timeout_s=busy_timeout_s)
        self._mutex = threading.Lock()  # a turn is one thread's

    def add(self, rows: Sequence[HistoryRow]) -> None:
        """Write rows down, all or none; a kill does not lose them, a power cut may."""
        values = [_values(row) for row in rows]
        if values:
            self._write(lambda connection: connection.executemany(_INSERT, values))

    def prune(self, days: float) -> int:
        """Delete rows that old, and count them; in steps, so that others can add in between."""
        before = time.time() - days * 86400
        count = 0
        while True:
            deleted = self._write(lambda connection: _delete_some(connection, before)).rowcount
            count += deleted
            if deleted < _PRUNED_AT_ONCE:
                return count

    def find(
        self,
        *,
        transaction_id: str = "",
        queue_id: str = "",
        message_id: str = "",
        address: str = "",
        file: str = "",
        since: float | None = None,
        until: float | None = None,
        limit: int = 100,
    ) -> list[HistoryRow]:
        """Return the newest rows that fit all that is given, newest first.

        address is a sender, recipient or original recipient, in any case; file a name with or without
        directory, sizes and flags; since and until are seconds since 1970, until not included.

        Only reads: it works beside a server, and for whoever may read the file and its companions.
        """
        question = {
            "transaction_id": transaction_id,
            "queue_id": queue_id,
            "message_id": message_id,
            "address": address,
            "file": base_of(os.path.basename(file)),
            "since": since,
            "until": until,
        }
        asked = {name: value for name, value in question.items() if value not in {None, ""}}
        try:
            with reading(self._path, timeout_s=self._busy_timeout_s) as connection:
                rows = connection.execute(_select(asked.keys()), {**asked, "limit": limit}).fetchall()
        except sqlite3.Error as exc:
            raise self._named(exc) from exc
        return [_row(values) for values in rows]

    def close(self) -> None:
        """Close the file; later writes raise HistoryError.  May be called again."""
        with self._mutex:
            self._file.close()

    def _write(self, task: Callable[[sqlite3.Connection], sqlite3.Cursor]) -> sqlite3.Cursor:
        with self._mutex:
            try:
                cursor = task(self._file.begin())
                self._file.commit()
            except BaseException as exc:
                self._file.give_up(exc)
                if isinstance(exc, sqlite3.Error | OSError):
                    raise self._named(exc) from exc
                raise
        return cursor

    def _named(self, error: sqlite3.Error | OSError) -> HistoryError:
        if is_damage(error):
            return HistoryError(
                f"{self._path} is damaged ({error}); set it aside and a new one is made:"
                f" {how_to_set_aside(self._path)}"
            )
        return HistoryError(f"{self._path}: {error}")


def _tune(connection: sqlite3.Connection) -> None:
    connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
    connection.execute(f"PRAGMA journal_size_limit = {_LOG_OCTETS}")


def _select(asked: Collection[str]) -> str:
    """Compose a question; only names of ours become part of its text, values never do.

    Where addresses lead to the rows, each kind is asked for its newest on its own, so that it goes by
    its own index and stops at the limit.
    """
    keys = [condition for name, condition in _KEYS.items() if name in asked]
    # "+" keeps SQLite from going by a column: the rows of a key are few, those of an address may be many.
    sign = "+" if keys else ""
    span = [sign + condition for name, condition in _SPAN.items() if name in asked]
    addresses = [sign + condition for condition in _ADDRESSES if "address" in asked]
    if keys and addresses:
        addresses = [f"({' OR '.join(addresses)})"]
    newest = " UNION ".join(
        f"SELECT id FROM (SELECT id FROM history WHERE {' AND '.join([alternative, *keys, *span])}"  # noqa: S608
        " ORDER BY at DESC, id DESC LIMIT :limit)"
        for alternative in addresses or ["TRUE"]
    )
    return (
        f"SELECT {', '.join(_COLUMNS)} FROM history WHERE id IN ({newest})"  # noqa: S608
        " ORDER BY at DESC, id DESC LIMIT :limit"
    )


def _delete_some(connection: sqlite3.Connection, before: float) -> sqlite3.Cursor:
    return connection.execute(
        "DELETE FROM history WHERE id IN (SELECT id FROM history WHERE at < ? ORDER BY at LIMIT ?)",
        (before, _PRUNED_AT_ONCE),
    )


def _values(row: HistoryRow) -> list[object]:
    values = [_stored(value) if isinstance(value, str) else value for value in _values_of(row)]
    values[-1] = json.dumps(dict(row.phases)) if row.phases else None
    return values


def _stored(text: str) -> str | None:
    """Return NULL for what is not known, and make storable what came from a peer's undecodable bytes."""
    if text.isascii():
        return text or None
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _row(values: Sequence[Any]) -> HistoryRow:  # Any: a value has its column's type
    columns: dict[str, Any] = {
        name: "" if value is None else value for name, value in zip(_COLUMNS, values, strict=True)
    }
    columns["phases"] = json.loads(columns["phases"] or "{}")
    return HistoryRow(**columns)
