"""PostgreSQL as a place of users; needs psycopg, the extra "postgresql"."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager

import psycopg

from lmtpd.recipients.lookup import LookupFailed, SourceDown, SourceFaulty
from lmtpd.recipients.pool import ConnectionLost, Pool
from lmtpd.recipients.query import Query
from lmtpd.recipients.sql import ROWS

# What the server says of a connection that it will not have at any other time either; libpq does not hand on
# the code behind it (28000, 28P01, 3D000, 42501). In another language only a wrong password is known.
_REFUSED = re.compile(
    r"FATAL: +(?:(?:password|peer|ident|\S+) authentication failed|no pg_hba\.conf entry|pg_hba\.conf rejects"
    r'|role "[^"]*" (?:does not exist|is not permitted)|database "[^"]*" does not exist'
    r"|permission denied for database)|no password supplied"
)
_FULL = re.compile(r"too many (?:connections|clients)|remaining connection slots|the database system is")

Connection = psycopg.Connection[tuple[object, ...]]


class PostgresqlDatabase:
    """One server, over connections that are kept. Thread-safe."""

    def __init__(self, url: str, query: Query, *, timeout_s: int) -> None:
        self.name = "postgresql"
        self._url = url
        # The administrator's own text, from the configuration: nothing of it comes from an address.
        self._query = query.written(percent=True).encode()
        self._timeout_s = timeout_s
        self._pool: Pool[Connection] = Pool(self._connect, lambda connection: connection.close())

    def rows(self, values: Mapping[str, str]) -> tuple[Sequence[str], Sequence[Sequence[object]]]:
        """Run the query. SourceDown: server or query cannot be used."""

        def ask(connection: Connection) -> tuple[Sequence[str], Sequence[Sequence[object]]]:
            try:
                with connection.cursor() as cursor:
                    cursor.execute(self._query, dict(values))
                    names = [column.name for column in cursor.description or ()]
                    return names, cursor.fetchmany(ROWS + 1)
            except psycopg.OperationalError as exc:
                if connection.broken:
                    raise ConnectionLost(str(exc)) from exc
                raise

        with _faults_named():
            return self._pool.use(ask)

    def everything(self, query: str) -> Iterator[tuple[Sequence[str], Sequence[object]]]:
        """Run a query without parameters, over a connection of its own. SourceDown."""
        with _faults_named(), closing(self._connect()) as connection, connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = 0")
            cursor.execute(query.encode())
            names = [column.name for column in cursor.description or ()]
            for row in cursor:
                yield names, row

    def close(self) -> None:
        """Close idle connections."""
        self._pool.close()

    def _connect(self) -> Connection:
        try:
            connection = psycopg.connect(
                self._url,
                autocommit=True,
                connect_timeout=max(2, self._timeout_s),  # libpq takes 1 for 2
                keepalives_idle=30,
                tcp_user_timeout=self._timeout_s * 1000,
                prepare_threshold=None,  # a connection pooler in between may not keep prepared statements
                application_name="lmtpd",
            )
        except psycopg.OperationalError as exc:
            if _is_refused(exc):
                raise SourceFaulty(_text(exc)) from exc
            raise
        connection.execute("SET default_transaction_read_only = on")
        connection.execute(b"SET statement_timeout = %d" % (self._timeout_s * 1000))
        return connection


@contextmanager
def _faults_named() -> Iterator[None]:
    try:
        yield
    except psycopg.DataError as exc:
        raise LookupFailed(_text(exc)) from exc
    except (
        psycopg.ProgrammingError,
        psycopg.errors.ReadOnlySqlTransaction,
    ) as exc:  # the URL, the query, a table or column, a right to read
        raise SourceFaulty(_text(exc)) from exc
    except (psycopg.Error, ConnectionLost) as exc:
        raise SourceDown(_text(exc)) from exc


def _is_refused(exc: psycopg.OperationalError) -> bool:
    """Tell whether the server has answered, and will answer the same as long as nobody mends anything."""
    text = str(exc)
    if _REFUSED.search(text) is not None:
        return True
    used_password = exc.pgconn is not None and exc.pgconn.used_password
    return used_password and "FATAL:" in text and _FULL.search(text) is None


def _text(exc: Exception) -> str:
    return " ".join(str(exc).split())
