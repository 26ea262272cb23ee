"""What is told of deliveries, refusals and quotas to whoever asked for events.

A delivery's event is part of its ledger record (storage/ledger_events.py): durable before the rename, said to
have happened before the reply. Refusals are written before their reply, and quota crossings before they are
remembered, in a transaction that waits for no disk: a kill takes none of them, a power cut may take the last.
Nothing here waits for a receiver, and no receiver can change a reply.
"""

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from lmtpd.delivery.copy import Copy
from lmtpd.delivery.outcomes import Deferred, Delivered, Refused
from lmtpd.delivery.summary import Summary
from lmtpd.events.document import composed, delivered, identified
from lmtpd.events.wishes import Wish, wanted
from lmtpd.recipients.mailbox import Mailbox, own_address
from lmtpd.report.records import Level, RecipientReport
from lmtpd.report.reporter import Reporter
from storage.ledger import Ledger, LedgerError
from storage.quota import Standing

UNWRITTEN = 10_000  # events without a record that wait while the ledger cannot be written; some 10 MB


class Announcer:
    """One per worker, safe for all its threads."""

    def __init__(self, ledger: Ledger, wishes: Sequence[Wish], reporter: Reporter, *, token: str) -> None:
        self._ledger = ledger
        self._wishes = wishes
        self._reporter = reporter
        self._token = token  # of this process
        self._count = itertools.count()
        self._failing = False
        self._lost = 0  # while the ledger could not be written; a count for the log, without a lock
        # Whether a recipient that is not served may be worth the ledger's turn.
        self._tells_trouble = any(wish.kinds - {"delivered"} for wish in wishes)

    def announcing(self, write: Callable[[Copy], None], summary: Summary) -> Callable[[Copy], None]:
        """Let what writes a copy prepare its event as well."""

        def write_and_announce(copy: Copy) -> None:
            write(copy)
            about = own_address(copy.mailbox)
            if copy.outcome is None and wanted(self._wishes, "delivered", about):
                copy.event = composed("delivered", about, time.time(), summary.facts_of(copy))

        return write_and_announce

    def tell(self, copies: Iterable[Copy]) -> None:
        """These have been through a round: let the events of those that are delivered have happened.

        On return no kill of this process takes them back. Never raises.
        """
        with self._harmless():
            self._tell(copies)

    def _tell(self, copies: Iterable[Copy]) -> None:
        keys, notes = [], []
        for copy in copies:
            if copy.event is None or not isinstance(copy.outcome, Delivered):
                continue
            if copy.recorded:
                keys.append(copy.key)
            elif copy.maildir is not None:  # delivered although the ledger fails
                notes.append(delivered(copy.event, copy.maildir.path, copy.outcome.file))
            copy.event = None
        if keys or notes:
            self._write(keys, notes)

    def owes(self, copies: Iterable[Copy]) -> bool:
        """Whether refused() may have to write of these before they are answered, which takes its time."""
        return self._tells_trouble and any(isinstance(copy.outcome, Deferred | Refused) for copy in copies)

    def refused(self, reports: Iterable[RecipientReport]) -> None:
        """Tell of those for whom a message is refused, or deferred; others are passed over.

        On return no kill takes it back, so this comes before the reply. Never raises.
        """
        with self._harmless():
            notes = [
                self._identified(_unserved(report))
                for report in reports
                if report.outcome in ("refused", "deferred")
                and wanted(self._wishes, report.outcome, report.recipient)
            ]
            if notes:
                self._write([], notes)

    def crossed(
        self, state: str, mailbox: Mailbox, standing: Standing, *, percent: int | None = None
    ) -> None:
        """Tell that a mailbox's use has crossed a line, before that is remembered. As refused()."""
        with self._harmless():
            about = own_address(mailbox)
            if wanted(self._wishes, "quota", about):
                facts = {
                    "state": state,
                    "percent": percent,
                    "used_octets": standing.usage.octets,
                    "used_messages": standing.usage.messages,
                    "limit": str(standing.limit),
                    "maildir": mailbox.maildir.path,
                }
                self._write([], [self._identified(composed("quota", about, time.time(), facts))])

    def _identified(self, event: str) -> str:
        return identified(event, self._token, str(next(self._count)))

    def _write(self, keys: Sequence[bytes], notes: Sequence[str]) -> None:
        try:
            self._ledger.happened(keys, notes)
            self._failing = False
            if self._lost:
                count, self._lost = self._lost, 0
                self._reporter.event(
                    Level.ERROR, "events_dropped", count=count, reason="the ledger could not be written"
                )
        except LedgerError as exc:
            # They are queued; those of deliveries are with the records on the disk, too.
            if not self._failing:
                self._failing = True
                self._reporter.event(Level.ALERT, "events_delayed", error=str(exc))
            self._lost += self._ledger.bound_notes(UNWRITTEN)

    @contextmanager
    def _harmless(self) -> Iterator[None]:
        """Report a bug in here: it must not turn what was delivered into a failure."""
        try:
            yield
        except Exception as exc:  # noqa: BLE001
            self._reporter.bug(exc, task="events")


def _unserved(report: RecipientReport) -> str:
    facts = {
        "recipient": report.recipient,
        "original_recipient": report.original_recipient,
        "sender": f"<{report.sender}>",
        "message_id": report.message_id,
        "queue_id": report.queue_id,
        "transaction": report.id,
        "octets": report.octets,
        "client": report.client,
        "reply": report.reply,
        "cause": report.cause,
    }
    return composed(report.outcome, report.recipient, report.at, facts)
