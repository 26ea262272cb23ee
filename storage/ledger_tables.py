"""The ledger's tables of records and processes, and what its transactions do to them.

Every function runs within a transaction of its caller.  The texts of the statements are constant, so
each is compiled once per connection.  Statements that settle a record ask for its owner as well: what
is not ours any more is not ours to change.
"""

import sqlite3
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from storage.database import Schema
from storage.owners import Owner, is_alive

SCHEMA = Schema(
    name="ledger",
    steps={
        "records": [
            # Without a rowid there is one tree instead of two: for most batches one page to write.
            """CREATE TABLE records (
                key BLOB NOT NULL PRIMARY KEY,  -- SHA-256 of sender, recipient, occurrence and body
                maildir TEXT NOT NULL,
                tmp TEXT NOT NULL,
                name TEXT NOT NULL,
                owner TEXT NOT NULL,            -- who works on it; empty when the attempt has ended
                created INTEGER NOT NULL        -- seconds since 1970
            ) WITHOUT ROWID""",
        ],
        "processes": [
            """CREATE TABLE processes (
                token TEXT NOT NULL PRIMARY KEY,  -- as in the names of its files in tmp/
                owner TEXT NOT NULL,
                started INTEGER NOT NULL,
                seen INTEGER NOT NULL             -- when it was last found alive
            ) WITHOUT ROWID""",
        ],
        "events": [
            # What is to be told of a record's delivery, should it come to that: durable with the record.
            "CREATE TABLE pending (key BLOB NOT NULL PRIMARY KEY, event TEXT NOT NULL) WITHOUT ROWID",
            # What has happened, until the sender has taken it; a delivery names its file.
            """CREATE TABLE happened (
                number INTEGER PRIMARY KEY,
                maildir TEXT,
                name TEXT,
                event TEXT NOT NULL
            )""",
        ],
    },
)


@dataclass(frozen=True, slots=True)
class Record:
    """One recipient's delivery: a retry has the same key, and name is the file to look for."""

    key: bytes  # SHA-256
    maildir: str  # absolute, with the folder
    tmp: str  # the name in tmp/
    name: str  # the final name, without flags
    event: str | None = field(default=None, compare=False)  # to be told once the file is published


_INSERT = "INSERT INTO records (key, maildir, tmp, name, owner, created) VALUES (?, ?, ?, ?, ?, ?)"
_AMEND = (
    _INSERT + " ON CONFLICT (key) DO UPDATE"
    " SET maildir = excluded.maildir, tmp = excluded.tmp, name = excluded.name WHERE owner = excluded.owner"
)

# Keys are looked up at most 256 at once, filled up to a power of two with NULL, which equals nothing.
_LOOK_UP = {
    keys: "SELECT key, maildir, tmp, name, owner FROM records"  # noqa: S608 (nothing but question marks)
    f" WHERE key IN ({', '.join('?' * keys)})"
    for keys in (1, 2, 4, 8, 16, 32, 64, 128, 256)
}


def count(connection: sqlite3.Connection) -> int:
    """Count the records."""
    ((records,),) = connection.execute("SELECT count(*) FROM records").fetchall()
    assert isinstance(records, int)
    return records


def look_up(connection: sqlite3.Connection, keys: Sequence[bytes]) -> list[tuple[Record, str]]:
    """Return the records that exist, each with its owner, in no order."""
    rows: list[tuple[bytes, str, str, str, str]] = []
    for start in range(0, len(keys), 256):
        some = keys[start : start + 256]
        size = 1 << (len(some) - 1).bit_length()
        rows += connection.execute(_LOOK_UP[size], [*some, *[None] * (size - len(some))])
    return [(Record(key, maildir, tmp, name), owner) for key, maildir, tmp, name, owner in rows]


def insert(connection: sqlite3.Connection, records: Iterable[Record], owner: str) -> None:
    """Add records whose keys are not there yet."""
    connection.executemany(_INSERT, _rows(records, owner))


def amend(connection: sqlite3.Connection, records: Iterable[Record], owner: str) -> None:
    """Give owner's records a new content; add those that are gone, as after the file was deleted."""
    connection.executemany(_AMEND, _rows(records, owner))


def claim(connection: sqlite3.Connection, keys: Iterable[bytes], owner: str) -> None:
    """Make the records owner's, whoever had them."""
    connection.executemany("UPDATE records SET owner = ? WHERE key = ?", [(owner, key) for key in keys])


def delete(connection: sqlite3.Connection, keys: Iterable[bytes], owner: str) -> None:
    """Delete records if they are owner's."""
    connection.executemany("DELETE FROM records WHERE key = ? AND owner = ?", [(key, owner) for key in keys])


def release(connection: sqlite3.Connection, keys: Iterable[bytes], owner: str) -> None:
    """Clear the owner of records if they are owner's."""
    connection.executemany(
        "UPDATE records SET owner = '' WHERE key = ? AND owner = ?", [(key, owner) for key in keys]
    )


def keys_of(connection: sqlite3.Connection, owner: str) -> list[bytes]:
    """Return the keys of all records of owner."""
    return [key for (key,) in connection.execute("SELECT key FROM records WHERE owner = ?", (owner,))]


def recover(connection: sqlite3.Connection) -> list[Record]:
    """Release all records of dead owners, and return them."""
    owners = connection.execute("SELECT DISTINCT owner FROM records WHERE owner <> ''").fetchall()
    dead = [row for row in owners if not is_alive(row[0])]
    records: list[Record] = []
    for row in dead:
        rows = connection.execute("SELECT key, maildir, tmp, name FROM records WHERE owner = ?", row)
        records += [Record(*columns) for columns in rows]
    connection.executemany("UPDATE records SET owner = '' WHERE owner = ?", dead)
    return records


def is_unconfirmed_in(connection: sqlite3.Connection, maildir: str) -> bool:
    """Tell whether an attempt to deliver into a Maildir, or a folder below it, has ended unconfirmed."""
    below = maildir + "/"
    found = connection.execute(
        "SELECT 1 FROM records WHERE owner = '' AND (maildir = ? OR substr(maildir, 1, ?) = ?) LIMIT 1",
        (maildir, len(below), below),
    )
    return found.fetchone() is not None


def prune(connection: sqlite3.Connection, older_than_s: float) -> int:
    """Delete old records without a living owner, and count them; then processes not seen alive since."""
    now = time.time()
    before = now - older_than_s
    count = 0
    for row in connection.execute(
        "SELECT DISTINCT owner FROM records WHERE created < ?", (before,)
    ).fetchall():
        if not is_alive(row[0]):
            deleted = connection.execute(
                "DELETE FROM records WHERE created < ? AND owner = ?", (before, *row)
            )
            count += deleted.rowcount
    alive = [(int(now), token) for token, owner in _processes(connection) if is_alive(owner)]
    connection.executemany("UPDATE processes SET seen = ? WHERE token = ?", alive)
    connection.execute("DELETE FROM processes WHERE seen < ?", (before,))
    return count


def register(connection: sqlite3.Connection, owner: Owner) -> None:
    """Note a process, so that the names of its files in tmp/ can be told when it is dead."""
    now = int(time.time())
    connection.execute(
        "INSERT OR IGNORE INTO processes (token, owner, started, seen) VALUES (?, ?, ?, ?)",
        (owner.token, str(owner), now, now),
    )


def sign_off(connection: sqlite3.Connection, owner: Owner) -> None:
    """Take a process off the list, which leaves no files behind."""
    connection.execute("DELETE FROM processes WHERE token = ?", (owner.token,))


def dead_tokens(connection: sqlite3.Connection) -> frozenset[str]:
    """Return the tokens of the processes on the list that are dead."""
    return frozenset(token for token, owner in _processes(connection) if not is_alive(owner))


def _rows(records: Iterable[Record], owner: str) -> list[tuple[bytes, str, str, str, str, int]]:
    now = int(time.time())
    return [(record.key, record.maildir, record.tmp, record.name, owner, now) for record in records]


def _processes(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    return connection.execute("SELECT token, owner FROM processes").fetchall()
