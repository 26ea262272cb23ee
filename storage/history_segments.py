"""The tables of the history: segments of some days or rows each, and the statements on them.

Every function runs within a transaction of its caller.  A row goes to the newest segment, whose indexes are
small enough to stay in memory, however long the history is; what is old goes as a whole table.  The view
`history` shows all segments as one table, to whoever looks with other programs.
"""

import sqlite3
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from storage.database import Schema
from storage.history_rows import COLUMNS

_TABLE = """(
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
            )"""

# What is indexed, and what with it: one address may have a million rows, of which the newest are wanted.
_INDEXES = {
    "at": "",
    "transaction_id": "",
    "queue_id": "",
    "message_id": "",
    "file": "",
    "sender": ", at",
    "recipient": ", at",
    "original_recipient": ", at",
}


def _creation(table: str) -> list[str]:
    """Return the statements that make a segment."""
    # Addresses are compared without regard to case: who asks does not know how they were written.
    indexes = [
        f"CREATE INDEX {table}_{column} ON {table} ({column}{more})"
        + (f" WHERE {column} IS NOT NULL" if column != "at" else "")
        for column, more in _INDEXES.items()
    ]
    return [f"CREATE TABLE {table} {_TABLE}", *indexes]


SCHEMA = Schema(
    name="history",
    steps={
        # One table with all rows; since "segments" it is the first of them.
        "history": _creation("history"),
        "segments": [
            "ALTER TABLE history RENAME TO history_0",
            """CREATE TABLE segments (
                number INTEGER PRIMARY KEY,  -- its rows are in the table history_NUMBER
                begun REAL NOT NULL,         -- in seconds since 1970
                first_id INTEGER NOT NULL    -- ids go on from segment to segment
            )""",
            "INSERT INTO segments VALUES (0, CAST(strftime('%s', 'now') AS REAL), 1)",
            "CREATE VIEW history AS SELECT * FROM history_0",
        ],
    },
)

# SQLite joins no more than 500 selects in a view.  Older segments can be asked one by one.
VIEWED = 400


@dataclass(frozen=True, slots=True)
class Segment:
    """A table of the history."""

    number: int
    begun: float = 0.0
    first_id: int = 1

    @property
    def table(self) -> str:
        """Its name: ours, so that it may become part of a statement."""
        return f"history_{self.number}"

    def next_id(self, connection: sqlite3.Connection) -> int:
        """Return the id of the next row."""
        ((last,),) = connection.execute(f"SELECT max(id) FROM {self.table}").fetchall()  # noqa: S608
        return self.first_id if last is None else int(last) + 1

    def rows(self, connection: sqlite3.Connection) -> int:
        """Count its rows."""
        return self.next_id(connection) - self.first_id

    def span(self, connection: sqlite3.Connection) -> tuple[float, float] | None:
        """Return when its oldest and its newest row are from; None: it has none."""
        ((oldest, newest),) = connection.execute(
            f"SELECT (SELECT min(at) FROM {self.table}), (SELECT max(at) FROM {self.table})"  # noqa: S608
        ).fetchall()
        return None if oldest is None else (oldest, newest)


def segments(connection: sqlite3.Connection) -> list[Segment]:
    """Return all, the newest first."""
    rows = connection.execute("SELECT number, begun, first_id FROM segments ORDER BY number DESC").fetchall()
    return [Segment(*row) for row in rows]


def newest(connection: sqlite3.Connection) -> Segment:
    """Return the segment that rows go to."""
    row = connection.execute(
        "SELECT number, begun, first_id FROM segments ORDER BY number DESC LIMIT 1"
    ).fetchone()
    return Segment(*row)


def insert(
    connection: sqlite3.Connection, segment: Segment, rows: Sequence[Sequence[object]], *, at_id: int
) -> None:
    """Add rows, whose ids begin with at_id."""
    connection.executemany(
        f"INSERT INTO {segment.table} (id, {', '.join(COLUMNS)}) VALUES (?{', ?' * len(COLUMNS)})",  # noqa: S608
        [(at_id + place, *values) for place, values in enumerate(rows)],
    )


def begin(connection: sqlite3.Connection, before: Segment, *, next_id: int) -> Segment:
    """Make the next segment."""
    segment = Segment(before.number + 1, time.time(), next_id)
    for statement in _creation(segment.table):
        connection.execute(statement)
    connection.execute(
        "INSERT INTO segments VALUES (?, ?, ?)", (segment.number, segment.begun, segment.first_id)
    )
    _view(connection)
    return segment


def shrink(connection: sqlite3.Connection, segment: Segment) -> bool:
    """Remove one index of a segment, or else the segment; True: it is gone.  Some ten milliseconds each."""
    index = connection.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'index' AND tbl_name = ? AND sql IS NOT NULL LIMIT 1",
        (segment.table,),
    ).fetchone()
    if index is not None:
        connection.execute(f"DROP INDEX {index[0]}")
        return False
    connection.execute("DELETE FROM segments WHERE number = ?", (segment.number,))
    _view(connection)
    connection.execute(f"DROP TABLE IF EXISTS {segment.table}")
    return True


def octets(connection: sqlite3.Connection) -> int:
    """Return how much of the file is in use."""
    values = [
        connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("page_count", "freelist_count", "page_size")
    ]
    pages, free, page_octets = map(int, values)
    return (pages - free) * page_octets


def _view(connection: sqlite3.Connection) -> None:
    tables = [segment.table for segment in segments(connection)][:VIEWED]
    connection.execute("DROP VIEW history")
    parts = " UNION ALL ".join(f"SELECT * FROM {table}" for table in reversed(tables))  # noqa: S608
    connection.execute(f"CREATE VIEW history AS {parts}")


# What a question asks becomes conditions.  A key fits few rows; a file is found by its whole name and by
# the base that it had in tmp/: "," begins the sizes, and "-" follows "," in ASCII.
_KEYS = {
    "transaction_id": "transaction_id = :transaction_id",
    "queue_id": "queue_id = :queue_id",
    "message_id": "message_id = :message_id",
    "file": "file >= :file AND file < :file || '-'",
}
_SPAN = {"since": "at >= :since", "until": "at < :until", "behind": "id > :behind"}
_ADDRESSES = ("sender = :address", "recipient = :address", "original_recipient = :address")


PROBED = 100  # segments in one statement; SQLite joins no more than 500 selects


def holding(connection: sqlite3.Connection, asked: Mapping[str, object]) -> Iterator[Segment]:
    """Yield the segments that have rows with the asked keys, or with the address; the newest first.

    Most have none.  A statement for each, with all columns, would take longer to compile than all the rest.
    """
    known = segments(connection)
    keys = [condition for name, condition in _KEYS.items() if name in asked]
    alternatives = [" AND ".join(keys)] if keys else _ADDRESSES if "address" in asked else ()
    if not alternatives:
        yield from known
        return
    for start in range(0, len(known), PROBED):
        some = {segment.number: segment for segment in known[start : start + PROBED]}
        probes = " UNION ALL ".join(_probe(segment, alternatives) for segment in some.values())
        found = {number for (number,) in connection.execute(probes, asked).fetchall()}
        yield from (segment for segment in some.values() if segment.number in found)


def _probe(segment: Segment, alternatives: Sequence[str]) -> str:
    exist = " OR ".join(
        f"EXISTS (SELECT 1 FROM {segment.table} WHERE {condition})"  # noqa: S608
        for condition in alternatives
    )
    return f"SELECT {segment.number} WHERE {exist}"


def selection(table: str, asked: Collection[str]) -> str:
    """Compose a question to one segment; only names of ours become part of its text, values never do.

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
    found = " UNION ".join(
        f"SELECT id FROM (SELECT id FROM {table} WHERE {' AND '.join([alternative, *keys, *span])}"  # noqa: S608
        " ORDER BY at DESC, id DESC LIMIT :limit)"
        for alternative in addresses or ["TRUE"]
    )
    return (
        f"SELECT id, {', '.join(COLUMNS)} FROM {table} WHERE id IN ({found})"  # noqa: S608
        " ORDER BY at DESC, id DESC LIMIT :limit"
    )
