"""The "delivered" notices that we owe where DSN is offered (RFC 3461 4.1), sent behind the reply.

Only NOTIFY=SUCCESS is ours. What fails or is late is Postfix's to tell, from our replies, and it does so by
the NOTIFY that it keeps. A notice is on the disk before the client gets its 250, so no crash forgets it; a
delivery recognised at a retry is owed none that was written down before. Nothing here can change a reply:
what goes wrong is told in the log, and for a while kept in memory.
"""

import hashlib
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lmtpd.delivery.copy import Copy
from lmtpd.delivery.notice import Facts, Told, delivered_notice
from lmtpd.delivery.outcomes import Delivered
from lmtpd.delivery.submission import Submission, SubmissionError
from lmtpd.protocol.commands import decode_xtext
from lmtpd.protocol.events import Envelope
from lmtpd.report.records import Level
from lmtpd.report.reporter import Reporter
from storage.outbox import Outbox, OutboxError, Outgoing

LEASE_S = 600.0  # longer than a submission may take
FIRST_PAUSE_S = 30.0
LONGEST_PAUSE_S = 3600.0
GIVE_UP_S = 5 * 86_400.0  # as Postfix does (bounce_queue_lifetime)
KEYS_KEPT_S = 8 * 86_400.0  # a day longer than the ledger recognises retries
LOOK_S = 60.0  # for what dead workers have left, and for work after an error
AT_ONCE = 20
# Notices that cannot be written down because the disk is full, say: some MB.
UNWRITTEN = 200


@dataclass(frozen=True, slots=True)
class _Owed:
    """One message's notices: all recipients of a transaction that asked for one."""

    recipient: str
    keys: Sequence[bytes]
    compose: Callable[[Sequence[int]], bytes]


class Notices:
    """Owes and sends. One per worker, safe for all its threads."""

    def __init__(
        self,
        outbox: Outbox,
        submission: Submission,
        *,
        hostname: str,
        reporter: Reporter,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._outbox = outbox
        self._submission = submission
        self._hostname = hostname
        self._reporter = reporter
        self._clock = clock
        self._unwritten: deque[_Owed] = deque(maxlen=UNWRITTEN)
        self._wake = threading.Event()
        self._stopped = False
        self._failing = False
        self._thread = threading.Thread(target=self._run, name="notices", daemon=True)

    def start(self) -> None:
        """Begin to send; after the fork."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread, behind the message that it is sending, and let go of the file."""
        self._stopped = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()
        self._outbox.close()

    def wants(self, envelope: Envelope, copies: Sequence[Copy]) -> bool:
        """Tell whether a notice is owed if these are delivered. The null sender gets none (RFC 3461 6.2)."""
        return envelope.sender is not None and any(_asks(copy) for copy in copies)

    def owe(self, transaction_id: str, envelope: Envelope, copies: Sequence[Copy], *, header: bytes) -> None:
        """Write down what is owed for those of copies that are delivered. Durable on return; never raises."""
        try:
            owed = [copy for copy in copies if _asks(copy) and isinstance(copy.outcome, Delivered)]
            if owed:
                self._write(self._prepare(transaction_id, envelope, owed, header=header))
                self._wake.set()
        except Exception as exc:  # noqa: BLE001 a bug here must not turn a delivery into a failure
            self._reporter.bug(exc, transaction=transaction_id)

    def _prepare(
        self, transaction_id: str, envelope: Envelope, copies: Sequence[Copy], *, header: bytes
    ) -> _Owed:
        sender = str(envelope.sender)
        facts = Facts(
            hostname=self._hostname,
            sender=sender,
            envelope_id=decode_xtext(envelope.parameters["ENVID"]) if "ENVID" in envelope.parameters else "",
            transaction_id=transaction_id,
            header=header,
            at=self._clock(),
        )
        told = [
            Told(copy.path.decode("utf-8", "replace"), copy.parameters.get("ORCPT", b"")) for copy in copies
        ]

        def compose(places: Sequence[int]) -> bytes:
            return delivered_notice(facts, [told[place] for place in places])

        return _Owed(sender, [_key(copy) for copy in copies], compose)

    def _write(self, owed: _Owed) -> None:
        try:
            self._outbox.owe(owed.recipient, owed.keys, owed.compose)
        except OutboxError as exc:
            self._unwritten.append(owed)
            self._alarm(exc)

    # -- the thread

    def _run(self) -> None:
        while not self._stopped:
            try:
                pause_s = self._work()
                self._failing = False
            except OutboxError as exc:
                self._alarm(exc)
                pause_s = LOOK_S
            except Exception as exc:  # noqa: BLE001 a bug here must not end the thread
                self._reporter.bug(exc, task="notices")
                pause_s = LOOK_S
            self._wake.wait(pause_s)
            self._wake.clear()

    def _work(self) -> float:
        """Send what is due; return in how many seconds to look again."""
        for _ in range(len(self._unwritten)):
            self._write(self._unwritten.popleft())
        self._outbox.prune(KEYS_KEPT_S)
        while due := self._outbox.take_due(lease_s=LEASE_S, at_most=AT_ONCE):
            for outgoing in due:
                if self._stopped:
                    return 0.0
                self._send(outgoing)
        due_in_s = self._outbox.due_in_s()
        return LOOK_S if due_in_s is None else min(LOOK_S, due_in_s)

    def _send(self, outgoing: Outgoing) -> None:
        try:
            self._submission.send(outgoing.recipient, outgoing.message)
        except SubmissionError as exc:
            self._sort_out(outgoing, exc)
        else:
            self._outbox.done(outgoing)
            self._reporter.event(Level.INFO, "notice_sent", to=f"<{outgoing.recipient}>")

    def _sort_out(self, outgoing: Outgoing, error: SubmissionError) -> None:
        to = f"<{outgoing.recipient}>"
        if error.is_final or self._clock() - outgoing.created > GIVE_UP_S:
            self._outbox.done(outgoing)
            self._reporter.event(Level.WARNING, "notice_given_up", to=to, error=str(error))
            return
        pause_s = min(FIRST_PAUSE_S * 2.0 ** min(outgoing.attempts, 16), LONGEST_PAUSE_S)
        self._outbox.try_again(outgoing, after_s=pause_s)
        self._reporter.event(Level.NOTICE, "notice_deferred", to=to, error=str(error), again_in_s=pause_s)

    def _alarm(self, exc: Exception) -> None:
        """Say once that the outbox does not work."""
        if not self._failing:
            self._failing = True
            self._reporter.event(Level.ALERT, "outbox_failed", error=str(exc))


def _asks(copy: Copy) -> bool:
    notify = copy.parameters.get("NOTIFY")
    # Of an alias with several mailboxes one copy stands for the recipient.
    return notify is not None and copy.has_reply and b"SUCCESS" in notify.split(b",")


def _key(copy: Copy) -> bytes:
    """What the retry of a delivery has in common with it, and another delivery has not: the file.

    A repeated recipient shares the file, and is owed a notice of his own.
    """
    assert isinstance(copy.outcome, Delivered)
    file = copy.outcome.file.encode()
    return hashlib.sha256(b"%b\0%b\0%d" % (file, copy.path, copy.occurrence)).digest()
