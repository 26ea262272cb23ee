"""The history as Datasette sees it: opened for each question, closed behind it.

So a page that lies open holds no lock and no old state, a history that was deleted and made again is the
new one, and what writes it never waits: a question ends at Datasette's limit of time.
"""

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from datasette.app import Datasette
from datasette.database import Database

from storage.reading import reading

T = TypeVar("T")

BUSY_S = 1.0


class HistoryDatabase(Database):  # type: ignore[misc]  # Datasette has no types
    """Reads only, whatever is asked."""

    def __init__(self, datasette: Datasette, path: Path) -> None:
        super().__init__(datasette, path=str(path), is_mutable=True)
        self._file = path

    async def execute_fn(self, fn: Callable[[sqlite3.Connection], T]) -> T:
        """Call fn with a connection, in a thread of Datasette's."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.ds.executor, self._ask, fn)

    def _ask(self, fn: Callable[[sqlite3.Connection], T]) -> T:
        with reading(self._file, timeout_s=BUSY_S) as connection:
            connection.execute("PRAGMA query_only = ON")
            self.ds._prepare_connection(connection, self.name)  # noqa: SLF001 - as its own Database does
            return fn(connection)
