"""SQLite as a place of users.

Opened for each question: remembered answers make that rare, and a file that was replaced is seen at once.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from urllib.parse import quote

from lmtpd.recipients.lookup import LookupFailed, SourceDown, SourceFaulty
from lmtpd.recipients.query import Query
from lmtpd.recipients.sql import ROWS

_LASTING = (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_READONLY)


class SqliteDatabase:
    """One file, only ever read. Thread-safe."""

    def __init__(self, path: str, query: Query, *, timeout_s: float) -> None:
        self.name = f"sqlite {path}"
        self._uri = f"file:{quote(path)}?mode=ro"
        self._query = query.written(percent=False)
        self._timeout_s = timeout_s

    def rows(self, values: Mapping[str, str]) -> tuple[Sequence[str], Sequence[Sequence[object]]]:
        """Run the query. SourceDown: file or query cannot be used."""
        with self._connected() as connection:
            cursor = connection.execute(self._query, dict(values))
            return [column[0] for column in cursor.description or ()], cursor.fetchmany(ROWS + 1)

    def everything(self, query: str) -> Iterator[tuple[Sequence[str], Sequence[object]]]:
        """Run a query without parameters. SourceDown: file or query cannot be used."""
        with self._connected() as connection:
            cursor = connection.execute(query)
            names = [column[0] for column in cursor.description or ()]
            for row in cursor:
                yield names, row

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self._uri, uri=True, timeout=self._timeout_s)) as connection:
                yield connection
        except (sqlite3.ProgrammingError, sqlite3.DataError, UnicodeError) as exc:
            raise LookupFailed(str(exc)) from exc
        except sqlite3.Error as exc:
            # No such table or column, a syntax error, no database, not a SELECT; a lock may pass.
            lasts = getattr(exc, "sqlite_errorcode", 0) in _LASTING
            raise (SourceFaulty if lasts else SourceDown)(str(exc)) from exc

    def close(self) -> None:
        """Nothing is held."""
