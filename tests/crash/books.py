"""The part of the oracle that reads lmtpd's ledger (I8, I9).

A record announces a file before the file is published, and goes once the client is known to have read the
reply. So a copy whose reply is in doubt must have one, and a delivery that is over must have none.

One kind of record may outlive its delivery without a file: that of an attempt whose client had gone, and
which would have been given up for it, had its process not been killed just then. It promises nothing, since
the same message would be delivered under it. Whether a record is of this kind is seen by its key, which is as
README says: SHA-256 of sender, recipient, how often that was named before, and the octets as received.
"""

import hashlib
import re
import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from tests.crash.account import Account, Attempt, Sent
from tests.crash.oracle import Kind, LedgerCheck, Mailboxes, StoredFile, Violation

_NAME = re.compile(r"\d+\.M\d+P\d+Q\d+R[0-9a-f]+\.[^,:/]+,S=\d+,W=\d+")


@dataclass(frozen=True, slots=True)
class _Row:
    key: bytes
    maildir: Path
    tmp: str
    name: str
    owner: str


def check_ledger(path: Path) -> LedgerCheck:
    """Return the check of the ledger at path, for `oracle.check`. The file is copied, never opened itself."""

    def run(
        account: Account, mailboxes: Mailboxes, files: Sequence[StoredFile], settled: bool
    ) -> list[Violation]:
        try:
            rows = _read(path)
        except (sqlite3.Error, _Damaged) as exc:
            return [Violation(Kind.LEDGER, "I9", str(exc))]
        books = _Books(account, mailboxes, files, rows)
        return [*books.contradictions(), *(books.unfinished() if settled else books.unannounced())]

    return run


class _Damaged(Exception):
    """What integrity_check said."""


def _read(path: Path) -> list[_Row]:
    """Read all records. A reader of the file itself would recover its log, and so change what is tested."""
    with tempfile.TemporaryDirectory(prefix="lmtpd-ledger-") as folder:
        for suffix in ("", "-wal"):
            source = path.with_name(path.name + suffix)
            if source.exists():
                shutil.copyfile(source, Path(folder) / source.name)
        copy = Path(folder) / path.name
        if not copy.exists():
            return []
        with closing(sqlite3.connect(copy)) as connection:
            verdict = connection.execute("PRAGMA integrity_check").fetchall()
            if verdict != [("ok",)]:
                raise _Damaged(f"integrity_check: {verdict}")
            if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'records'").fetchall():
                return []  # the crash came before its first table
            rows = connection.execute("SELECT key, maildir, tmp, name, owner FROM records").fetchall()
    return [_Row(key, Path(maildir), tmp, name, owner) for key, maildir, tmp, name, owner in rows]


class _Books:
    """The records beside the files."""

    def __init__(
        self, account: Account, mailboxes: Mailboxes, files: Sequence[StoredFile], rows: Sequence[_Row]
    ) -> None:
        self._account = account
        self._mailboxes = mailboxes
        self._files = {(file.maildir, file.base): file for file in files}
        self._rows = rows
        self._given_up = {
            key
            for sent in account.sent
            if sent.disturbed
            for attempt in sent.attempts
            if attempt.abandoned
            for key in keys(sent, attempt)
        }

    def contradictions(self) -> Iterator[Violation]:
        """Find records that cannot be true at any time."""
        seen = set()
        for row in self._rows:
            if not row.maildir.is_relative_to(self._mailboxes.root) or not _NAME.fullmatch(row.name):
                yield _wrong(f"a record names {row.maildir} {row.name}")
            if (row.maildir, row.name) in seen:
                yield _wrong(f"two records name {row.maildir}/{row.name}")
            seen.add((row.maildir, row.name))

    def unannounced(self) -> Iterator[Violation]:
        """After a crash: find copies in doubt without a record; the retry would double them."""
        announced = {(row.maildir, row.name) for row in self._rows}
        for place, file in self._files.items():
            sent = self._sent(file)
            if sent is not None and place not in announced and _is_in_doubt(sent, file):
                yield _wrong(f"{file.path} ({sent.id}) may be sent again, and no record knows of it")

    def unfinished(self) -> Iterator[Violation]:
        """When all is settled and the server has stopped: find records that ought to be gone."""
        for row in self._rows:
            file = self._files.get((row.maildir, row.name))
            if row.owner:
                yield _wrong(f"the record of {row.maildir}/{row.name} is still held by {row.owner}")
            if file is None:
                if row.key not in self._given_up:
                    yield _wrong(f"a record is left without its file, {row.maildir}/{row.name}")
                continue
            sent = self._sent(file)
            if sent and not sent.disturbed and any(attempt.confirmed for attempt in sent.attempts):
                yield _wrong(f"{sent.id} was confirmed, and its record is still there: {row.name}")

    def _sent(self, file: StoredFile) -> Sent | None:
        return next((sent for sent in self._account.sent if sent.sha256 == file.sha256), None)


def _is_in_doubt(sent: Sent, file: StoredFile) -> bool:
    """Tell whether the client will send the message again to the file's recipient."""
    recipient = (file.recipient or "").lower()
    return any(sent.recipients[place].lower() == recipient for place in sent.open_places)


def keys(sent: Sent, attempt: Attempt) -> Iterator[bytes]:
    """Return the keys of an attempt's copies: one for each recipient that it was for."""
    named: Counter[str] = Counter()
    for recipient in (sent.recipients[place] for place in attempt.places):
        parts = (sent.sender.encode(), recipient.encode(), b"%d" % named[recipient], sent.wire_sha256)
        yield hashlib.sha256(b"\0".join(parts)).digest()
        named[recipient] += 1


def _wrong(text: str) -> Violation:
    return Violation(Kind.LEDGER, "I8", text)
