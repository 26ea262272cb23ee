"""The ledger: what is being delivered, so that a message sent again is recognised.

A record is durable before its file is published, and names that file; it goes when the sender is known
to have read the reply.  So a record is found again exactly when an attempt ended between the two, by a
lost connection, a kill or a power cut.  What to do then is the caller's business.

In flight.  From intend() until confirm(), release() or withdraw() a key is in flight, and nobody else
gets to deliver under it.  Within this process a set in memory says so; to other processes the record's
owner does, as long as that process lives.  They see the end of a flight only with the next batch or
flush(): an identical message that reaches another process in between is InFlight there, not lost.

Batches.  While one batch is written, arrivals gather for the next; no thread and no timer of our own.
A batch is one transaction: first what was confirmed, released or withdrawn, then new records, then
amendments.  It costs one fdatasync if it holds records to keep, else none.

A process that dies loses its queue: deliveries confirmed and not yet deleted then count as unconfirmed.
Deleting the ledger under a running server is noticed, and forgets all that was to be recognised.
"""

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from storage import ledger_events as events
from storage import ledger_tables as tables
from storage.database import BUSY_TIMEOUT_S, SharedDatabase, how_to_set_aside, is_damage
from storage.flights import Flights
from storage.grouping import GroupedWork, WorkInterrupted
from storage.ledger_tables import Record
from storage.owners import Owner, is_alive

__all__ = ["Finding", "InFlight", "Known", "Ledger", "LedgerCorrupt", "LedgerError", "New", "Record"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class New:
    """Nothing is known of the key: the record is durable, and ours."""


@dataclass(frozen=True, slots=True)
class Known:
    """An earlier attempt ended unconfirmed; its record, unchanged, is ours now."""

    record: Record


@dataclass(frozen=True, slots=True)
class InFlight:
    """Somebody delivers under this key at this moment; nothing was changed."""


Finding = New | Known | InFlight

_NEW = New()
_IN_FLIGHT = InFlight()


class LedgerError(Exception):
    """The ledger could not do it: nothing is intended or amended, and what was queued stays queued."""


class LedgerCorrupt(LedgerError):
    """The ledger's file is damaged; the text ends with the command that sets it aside."""


@dataclass(slots=True)
class _Work:
    """What one thread wants of a batch."""

    intends: Sequence[Record] = ()
    amends: Sequence[Record] = ()
    task: Callable[[sqlite3.Connection], object] | None = None
    closes: bool = False


class Ledger:
    """One process's access to the ledger at path; any thread may call any method.

    Made after the fork, with an owner that no other Ledger has.  The file is opened, or made, by the
    first call that needs it, and again after an error: service resumes when the fault has gone.  With
    durable=False a power cut may take the last records; a kill does not.  Methods that touch the file
    raise LedgerError.
    """

    def __init__(
        self, path: Path, owner: Owner, *, durable: bool = True, busy_timeout_s: float = BUSY_TIMEOUT_S
    ) -> None:
        self._path = path
        self._owner = owner
        self._mine = str(owner)
        self._file = SharedDatabase(
            path, tables.SCHEMA, durable=durable, opened=self._opened, busy_timeout_s=busy_timeout_s
        )
        self._batches = GroupedWork(self._perform)
        self._flights = Flights()
        self._happenings = events.Happenings()

    def intend(self, records: Sequence[Record]) -> list[Finding]:
        """Announce deliveries; return what is known of each, in order.

        On return the records of New ones are durable.  New and Known keys are in flight until
        confirm(), release() or withdraw(); after a LedgerError none of them is.
        """
        free = self._flights.take(records)
        ours = [record for record, is_free in zip(records, free, strict=True) if is_free]
        found = self._submit(_Work(intends=ours)) if ours else {}
        return [
            found.get(record.key, _NEW) if is_free else _IN_FLIGHT
            for record, is_free in zip(records, free, strict=True)
        ]

    def amend(self, records: Sequence[Record]) -> None:
        """Give records that are in flight here a new content, durable on return."""
        if records:
            self._submit(_Work(amends=records))

    def confirm(self, keys: Iterable[bytes]) -> None:
        """Forget deliveries whose reply was read.  Returns at once; keys not in flight here are ignored."""
        self._flights.end(keys)

    def withdraw(self, keys: Iterable[bytes]) -> None:
        """Forget deliveries of which nothing was published.  Otherwise as confirm()."""
        self._flights.end(keys)

    def release(self, keys: Iterable[bytes]) -> None:
        """End attempts without proof that the reply was read: the next is Known.  Otherwise as confirm()."""
        self._flights.end_unconfirmed(keys)

    def happened(self, keys: Sequence[bytes], notes: Sequence[str] = ()) -> None:
        """Let the events of published records, which are in flight here, and others have happened.

        On return a kill does not lose them; no disk is waited for.  After a LedgerError they stay queued, and
        go with whatever is written next, before the records do.
        """
        self._happenings.put(keys, notes)
        self._submit(_Work())

    def bound_notes(self, at_most: int) -> int:
        """Drop and count the oldest of those queued events that have no record, but for so many."""
        return self._happenings.bound_notes(at_most)

    def undecided_events(self) -> list[Record]:
        """Return the records of dead processes whose events are pending: published, or not."""
        return self._run(events.undecided)

    def bound_events(self, rows: int) -> int:
        """Delete and count the oldest events that nobody takes, but for so many."""
        return self._run(lambda connection: events.bound(connection, rows))

    @property
    def has_pending(self) -> bool:
        """Tell whether flush() has something to do."""
        return self._flights.has_endings or bool(self._happenings)

    def flush(self) -> None:
        """Write down what was confirmed, released and withdrawn; not durable, so without a sync."""
        if self.has_pending:
            self._submit(_Work())

    def recover(self) -> list[Record]:
        """Release the records of dead processes and return them, for the sake of their files in tmp/.

        At any time, in any process.  Each record is returned once; should the caller die over it,
        nothing is lost but the tidying.
        """
        return self._run(tables.recover)

    def may_come_again(self, maildir: str) -> bool:
        """Tell whether a message may come again that was put into a Maildir, or a folder below it."""
        return self._run(lambda connection: tables.is_unconfirmed_in(connection, maildir))

    def dead_tokens(self) -> frozenset[str]:
        """Return the tokens of dead processes that used this ledger, for the sake of their files in tmp/."""
        return self._run(tables.dead_tokens)

    def prune(self, older_than_s: float) -> int:
        """Delete and count records that old on which nobody works; forget processes dead that long."""

        def prune(connection: sqlite3.Connection) -> int:
            count = tables.prune(connection, older_than_s)
            events.forget(connection)
            return count

        return self._run(prune)

    def close(self) -> None:
        """Flush, sign off and close; later calls raise LedgerError, further ones of close() do nothing.

        What is still in flight stays ours until the process ends, since its threads may yet publish.
        """
        try:
            self._submit(_Work(task=self._sign_off, closes=True))
        except LedgerError:
            # What could not be written down then looks as if the process had been killed.
            pass

    def _submit(self, work: _Work) -> dict[bytes, Finding]:
        try:
            return self._batches.submit(work)
        except WorkInterrupted as exc:
            raise LedgerError(str(exc)) from exc

    def _run(self, task: Callable[[sqlite3.Connection], T]) -> T:
        results: list[T] = []
        self._submit(_Work(task=lambda connection: results.append(task(connection))))
        return results[0]

    # ---- by one thread at a time ----

    def _perform(self, batch: list[_Work]) -> list[dict[bytes, Finding]]:
        """Write a batch in one transaction; give each thread what the file knew of the batch's keys."""
        try:
            found = self._write(batch)
        except BaseException as exc:
            self._file.give_up(exc)
            self._flights.forget(record.key for work in batch for record in work.intends)
            if isinstance(exc, sqlite3.Error | OSError):
                raise self._named(exc) from exc
            raise
        finally:
            if any(work.closes for work in batch):
                self._file.close()
        return [found] * len(batch)

    def _write(self, batch: list[_Work]) -> dict[bytes, Finding]:
        intends = [record for work in batch for record in work.intends]
        amends = [record for work in batch for record in work.amends]
        connection = self._file.begin(synced=bool(intends or amends))
        happenings, endings = self._happenings.take(), self._flights.take_endings()
        try:
            if happenings.keys or happenings.notes:
                events.write(connection, happenings)
            if endings.deletes:
                tables.delete(connection, endings.deletes, self._mine)
            if endings.releases:
                tables.release(connection, endings.releases, self._mine)
            found = self._announce(connection, intends) if intends else {}
            if amends:
                tables.amend(connection, amends, self._mine)
                events.announce(connection, amends)
            for work in batch:
                if work.task is not None:
                    work.task(connection)
            self._file.commit()
        except BaseException:
            self._flights.put_back(endings)
            self._happenings.put_back(happenings)
            raise
        return found

    def _announce(self, connection: sqlite3.Connection, records: list[Record]) -> dict[bytes, Finding]:
        """Insert what is new, claim what has ended; return what is not new."""
        earlier = tables.look_up(connection, [record.key for record in records])
        if not earlier:
            tables.insert(connection, records, self._mine)
            events.announce(connection, records)
            return {}
        at_work = {owner for owner in {owner for _, owner in earlier} if self._is_elsewhere(owner)}
        found: dict[bytes, Finding] = {
            record.key: _IN_FLIGHT if owner in at_work else Known(record) for record, owner in earlier
        }
        known = [key for key, finding in found.items() if finding is not _IN_FLIGHT]
        tables.claim(connection, known, self._mine)
        new = [record for record in records if record.key not in found]
        tables.insert(connection, new, self._mine)
        events.announce(connection, new)
        self._flights.forget(found.keys() - known)
        return found

    def _is_elsewhere(self, owner: str) -> bool:
        # A record that is ours, though we do not have it in flight, is left of a failed commit.
        return owner != self._mine and is_alive(owner)

    def _opened(self, connection: sqlite3.Connection) -> None:
        """Register with a file just opened, and release what a failed commit may have left in it.

        Such a commit is rolled back as far as we know, but the file may have kept it.  Left alone,
        its records would be InFlight to other processes until this one ends.
        """
        tables.register(connection, self._owner)
        ours = tables.keys_of(connection, self._mine)
        tables.release(connection, self._flights.unknown(ours), self._mine)

    def _sign_off(self, connection: sqlite3.Connection) -> None:
        if self._flights.is_idle:
            tables.sign_off(connection, self._owner)

    def _named(self, error: sqlite3.Error | OSError) -> LedgerError:
        if is_damage(error):
            return LedgerCorrupt(
                f"{self._path} is damaged ({error}); set it aside and a new one is made:"
                f" {how_to_set_aside(self._path)}"
            )
        return LedgerError(f"{self._path}: {error}")
