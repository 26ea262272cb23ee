"""What the ledger holds of a Maildir, for those who only look. Nothing is locked, written or waited for."""

import sqlite3
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

from storage.errors import StorageError
from storage.ledger_tables import Record
from storage.owners import is_alive


class OpenRecords:
    """The records that were there when it was made: deliveries not confirmed yet, a few hundred mostly."""

    def __init__(self, records: Sequence[tuple[Record, bool]]) -> None:
        """Take records, each with whether somebody is at work on it."""
        by_maildir: dict[str, list[tuple[Record, bool]]] = defaultdict(list)
        for record, is_at_work in records:
            by_maildir[record.maildir].append((record, is_at_work))
        self._by_maildir: Mapping[str, Sequence[tuple[Record, bool]]] = by_maildir

    @classmethod
    def read(cls, ledger: Path) -> "OpenRecords":
        """Read the ledger; none where there is no file. StorageError if it cannot be read."""
        if not ledger.exists():
            return cls(())
        try:
            with closing(sqlite3.connect(f"{ledger.absolute().as_uri()}?mode=ro", uri=True)) as connection:
                rows = connection.execute("SELECT key, maildir, tmp, name, owner FROM records").fetchall()
        except sqlite3.Error as exc:
            raise StorageError(f"the ledger {ledger} cannot be read: {exc}") from exc
        return cls([(Record(*columns), is_alive(owner)) for *columns, owner in rows])

    def of_folder(self, path: str) -> Sequence[tuple[Record, bool]]:
        """Return the records of a folder, by its path, each with whether somebody is at work on it."""
        return self._by_maildir.get(path, ())

    def names(self, path: str) -> frozenset[str]:
        """Return the names that a retry will look for in a folder: such a file must not be renamed."""
        return frozenset(record.name for record, _ in self.of_folder(path))
