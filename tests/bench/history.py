"""How long `lmtpd trace` takes in a long history, and what a row costs to write in it.

    python -m tests.bench.history --rows 10_000_000 --folder /tmp

The file has the real tables. Most rows are made by SQLite, and their indexes afterwards, which is faster;
those that are timed are written as the server does. The file is removed afterwards.
"""

import argparse
import os
import random
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from storage import history_segments
from storage.history import SEGMENT_ROWS, History, HistoryRow, Question
from storage.reading import octets_of

BATCH = 500
TIMED = 100  # batches
DAYS = 30
ASKED = 200  # of each kind

# Rows as the server writes them, from a month and for the users of a large site. Each Message-ID, queue id
# and file name is another one.
FILL = """
WITH RECURSIVE number (n) AS (SELECT :first UNION ALL SELECT n + 1 FROM number WHERE n < :last)
INSERT INTO {table} (id, at, transaction_id, queue_id, message_id, sender, recipient, original_recipient,
                     mailbox, file, octets, outcome, reply, client, helo, phases)
SELECT n, :begun + {days} * 86400.0 * n / :rows,
       lower(hex(randomblob(7))),
       hex(randomblob(6)),
       '<' || lower(hex(randomblob(12))) || '@load.example>',
       'sender' || abs(random() % 100000) || '@load.example',
       printf('u%06d@bench.example', abs(random() % 100000)),
       CASE WHEN n % 4 = 0 THEN printf('alias%06d@bench.example', abs(random() % 25000)) END,
       printf('/srv/mail/bench.example/u%06d', abs(random() % 100000)),
       1700000000 + n || '.M' || n || 'P1Q' || n || 'R' || lower(hex(randomblob(8))) || '.mx,S=4096,W=4200',
       4096, 'delivered', '250 2.0.0 <u000000@bench.example> Saved', 'unix', 'load.example',
       '{{"receive": 0.2, "stage": 0.3, "sync": 0.8, "record": 0.6, "publish": 0.4, "reply": 0.1}}'
FROM number
"""


def main() -> None:
    """Write, fill, write again, ask."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    arguments = parser.parse_args()
    os.nice(19)
    with tempfile.TemporaryDirectory(dir=arguments.folder, prefix="lmtpd-history-") as folder:
        path = Path(folder) / "history.db"
        with closing(History(path)) as history:
            time_writing(history, path)
            fill(path, arguments.rows)
            time_writing(history, path)
            time_asking(history, path)


def fill(path: Path, rows: int) -> None:
    """Put so many rows into segments as the server would have made them."""
    begun = time.time() - DAYS * 86_400
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA cache_size = -500000")
        segment = history_segments.newest(connection)
        first = segment.next_id(connection)
        for start in range(first, first + rows, SEGMENT_ROWS):
            connection.execute("BEGIN")
            segment = history_segments.begin(connection, segment, next_id=start)
            indexes = connection.execute(
                "SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND tbl_name = ?", (segment.table,)
            ).fetchall()
            for name, _ in indexes:
                connection.execute(f"DROP INDEX {name}")
            last = min(start + SEGMENT_ROWS, first + rows) - 1
            values = {"first": start, "last": last, "rows": rows, "begun": begun}
            connection.execute(FILL.format(table=segment.table, days=DAYS), values)
            for _, sql in indexes:
                connection.execute(sql)
            connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def time_writing(history: History, path: Path) -> None:
    """Write batches as the server does."""
    wall_us, processor_us = [], []
    for number in range(TIMED):
        batch = [_row(BATCH * number + place) for place in range(BATCH)]
        before, worked = time.perf_counter(), time.process_time()
        history.add(batch)
        wall_us.append((time.perf_counter() - before) / BATCH * 1e6)
        processor_us.append((time.process_time() - worked) / BATCH * 1e6)
    rows, size = history.rows(), octets_of(path) / 1e9
    wall, processor = statistics.mean(wall_us), statistics.mean(processor_us)
    _tell(f"{rows:>12,} rows, {size:.2f} GB: a row {wall:.1f} us, of which processor {processor:.1f} us")


def _row(number: int) -> HistoryRow:
    draw = random.Random()
    user = draw.randrange(100_000)
    return HistoryRow(
        at=time.time(),
        outcome="delivered",
        transaction_id=f"{draw.getrandbits(56):014x}",
        queue_id=f"{draw.getrandbits(48):012X}",
        message_id=f"<{draw.getrandbits(96):024x}@load.example>",
        sender=f"sender{draw.randrange(100_000)}@load.example",
        recipient=f"u{user:06d}@bench.example",
        mailbox=f"/srv/mail/bench.example/u{user:06d}",
        file=f"{time.time():.0f}.M{number}P1Q1R{draw.getrandbits(64):016x}.mx,S=4096,W=4200",
        octets=4096,
        reply=f"250 2.0.0 <u{user:06d}@bench.example> Saved",
        client="unix",
        helo="load.example",
        phases={"receive": 0.2, "stage": 0.3, "sync": 0.8, "record": 0.6, "publish": 0.4, "reply": 0.1},
    )


def questions(row: HistoryRow) -> Iterator[tuple[str, Question]]:
    """Yield what may be asked of a row."""
    yield "queue id", {"queue_id": row.queue_id}
    yield "Message-ID", {"message_id": row.message_id}
    yield "sender", {"address": row.sender}
    yield "recipient", {"address": row.recipient}
    yield "original recipient", {"address": row.original_recipient}
    yield "file", {"file": row.file}
    yield "transaction", {"transaction_id": row.transaction_id}
    yield "one minute", {"since": row.at, "until": row.at + 60}
    yield "an address in an hour", {"address": row.recipient, "since": row.at - 1800, "until": row.at + 1800}
    yield "everything since then", {"since": row.at}
    yield "nothing", {"queue_id": "NOTHERE"}


def time_asking(history: History, path: Path) -> None:
    """Ask for rows drawn by lot."""
    taken: dict[str, list[float]] = {}
    worked: dict[str, list[float]] = {}
    draw = random.Random(1)
    newest = history.newest_id()
    for _ in range(ASKED):
        # Each fourth row has an original recipient.
        row = _row_of_id(path, 4 * draw.randrange(BATCH * TIMED // 4 + 1, (newest - BATCH * TIMED) // 4))
        for name, question in questions(row):
            before, processor = time.perf_counter(), time.process_time()
            found = history.find(**question)
            worked.setdefault(name, []).append((time.process_time() - processor) * 1000)
            taken.setdefault(name, []).append((time.perf_counter() - before) * 1000)
            assert found or name == "nothing", (name, question)
    for name, times in taken.items():
        half, slowest, processor = statistics.median(times), max(times), max(worked[name])
        _tell(
            f"{name:<22} half {half:.2f} ms, slowest {slowest:.2f} ms; processor at most {processor:.2f} ms"
        )


def _row_of_id(path: Path, number: int) -> HistoryRow:
    with closing(sqlite3.connect(path)) as connection:
        columns = "at, transaction_id, queue_id, message_id, sender, recipient, original_recipient, file"
        values = connection.execute(f"SELECT {columns} FROM history WHERE id = ?", (number,)).fetchone()
    return HistoryRow(outcome="delivered", **dict(zip(columns.split(", "), values, strict=True)))


def _tell(text: str) -> None:
    print(text, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
