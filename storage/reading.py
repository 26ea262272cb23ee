"""Looking at a SQLite file beside the server that writes it: never a lock, never a change."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

COMPANIONS = ("", "-wal", "-shm")


@contextmanager
def reading(path: Path, *, timeout_s: float) -> Iterator[sqlite3.Connection]:
    """Open a database for reading; works for whoever may read the file and its companions.

    Raises sqlite3.Error.
    """
    # Without a log nobody has the file open.  Said to be immutable it can be read even where we must
    # not make a log; a server that starts within the next milliseconds costs us an error at worst.
    mode = "mode=ro" if os.path.exists(f"{path}-wal") else "mode=ro&immutable=1"
    uri = f"file:{quote(os.path.abspath(path))}?{mode}"
    connection = sqlite3.connect(uri, uri=True, timeout=timeout_s)
    try:
        yield connection
    finally:
        connection.close()


def octets_of(path: Path) -> int:
    """Add up the sizes of a database and its companions."""
    return sum(_size(f"{path}{companion}") for companion in COMPANIONS)


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0
