"""The source `sql`: one query with bound parameters, whose columns are what is known of a user.

What the two databases have in common: the query as the administrator wrote it, with `:address`, `:user`,
`:domain` and `:detail`; and the reading of its rows. A driver runs it.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from lmtpd.recipients.entry import IGNORED, Entry, EntryError, read_entry
from lmtpd.recipients.lookup import CannotList, LookupFailed, Question
from lmtpd.recipients.query import FIELDS, Query

ROWS = 1000  # of one alias; more is a query without a condition


class Database(Protocol):
    """Runs the query. Thread-safe."""

    name: str

    def rows(self, values: Mapping[str, str]) -> tuple[Sequence[str], Sequence[Sequence[object]]]:
        """Return the names of the columns, and at most ROWS + 1 rows. SourceDown, LookupFailed."""

    def everything(self, query: str) -> Iterator[tuple[Sequence[str], Sequence[object]]]:
        """Run a query without parameters; yield each row with the names of its columns. SourceDown.

        However long it takes.
        """

    def close(self) -> None:
        """Let go of connections."""


class SqlLookup:
    """Asks a database. Thread-safe."""

    def __init__(
        self, database: Database, query: Query, columns: Mapping[str, str], *, iterate: str | None = None
    ) -> None:
        """columns: field -> the column that has it; empty: the columns are named as the fields.

        iterate: the query for everybody.
        """
        self.name = database.name
        self.asks_for_detail = "detail" in query.names
        self._database = database
        self._iterate = iterate
        self._fields = {column: field for field, column in columns.items()}

    def find(self, question: Question) -> Entry | None:
        """Run the query; no row is nobody. Several rows may differ in their alias only."""
        names, rows = self._database.rows(question.parameters())
        if missing := [column for column in self._fields if column not in names]:
            raise EntryError(f"the query returns no column {missing[0]!r}, only {', '.join(names)}")
        if len(rows) > ROWS:
            raise LookupFailed(f"the query returns more than {ROWS} rows")
        found = [self._named(names, row) for row in rows]
        if not found:
            return None
        first, *others = found
        aliases = [alias for row in found if (alias := row.pop("alias", None)) not in (None, "")]
        if any(row != first for row in others):
            raise LookupFailed(f"the query returns {len(rows)} rows, which differ in more than their alias")
        return read_entry({**first, "alias": aliases or None})

    def meaningless(self, question: Question) -> Sequence[str]:
        """Return the columns that the query returns for nothing. SourceDown, LookupFailed."""
        names, _ = self._database.rows(question.parameters())
        return [] if self._fields else [name for name in names if name not in (*FIELDS, *IGNORED)]

    def users(self) -> Iterator[str]:
        """Run the query for everybody. CannotList: there is none; EntryError: a row without a name."""
        if self._iterate is None:
            raise CannotList("it has no iterate_query")
        for names, row in self._database.everything(self._iterate):
            yield _user_of(dict(zip(names, row, strict=True)))

    def close(self) -> None:
        """Let go of connections."""
        self._database.close()

    def _named(self, names: Sequence[str], row: Sequence[object]) -> dict[str, object]:
        if self._fields:
            return {
                self._fields[name]: value
                for name, value in zip(names, row, strict=True)
                if name in self._fields
            }
        return dict(zip(names, row, strict=True))


def _user_of(row: Mapping[str, object]) -> str:
    """Read one row of the query for everybody: an address, or a user and perhaps the domain."""
    address, user, domain = (row.get(name) for name in ("address", "user", "domain"))
    if isinstance(address, str) and address:
        return address
    if isinstance(user, str) and user:
        return f"{user}@{domain}" if isinstance(domain, str) and domain else user
    raise EntryError(
        f"iterate_query must return address, or user and domain, in each row, not {', '.join(row)}"
        if not {"address", "user"} & set(row)
        else "iterate_query returns a row with nobody in it"
    )
