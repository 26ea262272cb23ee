"""A database of words, for the tests of storage.database."""

import contextlib
import resource
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

from storage.database import BUSY_TIMEOUT_S, Schema, SharedDatabase

SCHEMA = Schema(name="test", steps={"words": ["CREATE TABLE words (word TEXT)"]})


@contextlib.contextmanager
def opened(
    path: Path,
    schema: Schema = SCHEMA,
    *,
    durable: bool = True,
    opened: Callable[[sqlite3.Connection], object] = lambda _: None,
    busy_timeout_s: float = BUSY_TIMEOUT_S,
) -> Iterator[SharedDatabase]:
    """Use a database as one process does, and close it."""
    file = SharedDatabase(path, schema, durable=durable, opened=opened, busy_timeout_s=busy_timeout_s)
    try:
        yield file
    finally:
        file.close()


def put(file: SharedDatabase, *words: str, synced: bool = True) -> None:
    """Add words in one transaction, as every user of a SharedDatabase does it."""
    try:
        connection = file.begin(synced=synced)
        connection.executemany("INSERT INTO words VALUES (?)", [(word,) for word in words])
        file.commit()
    except BaseException as exc:
        file.give_up(exc)
        raise


def words_in(path: Path) -> list[str]:
    """Return the words in the order of their arrival, as a foreign reader finds them."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return [word for (word,) in connection.execute("SELECT word FROM words ORDER BY rowid")]


def miscount_free_pages(path: Path) -> None:
    """Damage a database that nobody has open, in a way that only a check notices."""
    with path.open("r+b") as raw:
        raw.seek(36)  # the number of free pages, of which there are none
        raw.write((7).to_bytes(4, "big"))


@contextlib.contextmanager
def largest_file(octets: int) -> Iterator[None]:
    """Make this process fail to write beyond that place of any file, which SQLite calls an I/O error."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (octets, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
