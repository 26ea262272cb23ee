"""What is told of a transaction: phase times, and one report per recipient."""

import time

from lmtpd.delivery.copy import Copy
from lmtpd.delivery.headers import message_id_of, queue_id_of
from lmtpd.delivery.outcomes import Deferred, Delivered, Refused
from lmtpd.protocol.events import Envelope
from lmtpd.protocol.replies import Reply
from lmtpd.report.records import OutcomeWord, RecipientReport


class Timing:
    """When each phase of a delivery ended, on the monotonic clock. Milliseconds between marks."""

    __slots__ = ("_begun", "_ended", "_published", "_recorded", "_staged")

    def __init__(self) -> None:
        self._begun = self._ended = self._staged = self._recorded = self._published = 0.0

    def begin(self) -> None:
        """The client was told to send the body."""
        self._begun = time.monotonic()
        self._staged = self._recorded = self._published = 0.0

    def ended(self) -> None:
        """The end of the body has been read."""
        self._ended = time.monotonic()

    def staged(self) -> None:
        """All copies are in tmp/ and synced."""
        self._staged = time.monotonic()

    def recorded(self) -> None:
        """The ledger has them."""
        self._recorded = time.monotonic()

    def published(self) -> None:
        """All are renamed."""
        self._published = time.monotonic()

    def since_end_s(self) -> float:
        """Seconds since the end of the body was read."""
        return time.monotonic() - self._ended

    def phases_ms(self) -> dict[str, float]:
        """How long receive, stage, record, publish and sync took, as far as they were reached."""
        marks = (
            ("receive", self._begun, self._ended),
            ("stage", self._ended, self._staged),
            ("record", self._staged, self._recorded),
            ("publish", self._recorded, self._published),
            ("sync", self._published, time.monotonic()),
        )
        return {name: round((to - since) * 1000, 2) for name, since, to in marks if since and to}


class Summary:
    """Reports on the recipients of one transaction; what they share is looked up once."""

    __slots__ = ("_client", "_envelope", "_id", "_message_id", "_octets", "_queue_id", "_timing")

    def __init__(self, transaction_id: str, envelope: Envelope, *, client: str, timing: Timing) -> None:
        self._id = transaction_id
        self._envelope = envelope
        self._client = client
        self._timing = timing
        self._message_id = ""
        self._octets: int | None = None
        self._queue_id = envelope.forwarded.get("IDENT", "")

    def received(self, header: bytes, octets: int) -> None:
        """The body is complete: learn its Message-ID, and its queue id unless the client has told it."""
        self._octets = octets
        self._message_id = message_id_of(header)
        if not self._queue_id:
            self._queue_id = queue_id_of(header)

    def of_copy(self, copy: Copy, reply: Reply) -> RecipientReport:
        """Report what became of an accepted recipient."""
        outcome: OutcomeWord
        cause = detail = file = ""
        match copy.outcome:
            case Delivered(file, recognised):
                outcome = "recognised" if recognised else "delivered"
            case Deferred(why, detail):
                outcome, cause = "deferred", why.value
            case Refused(why, detail):
                outcome, cause = "refused", why.value
            case None:
                raise ValueError(f"{copy.address} has no outcome yet")
        return RecipientReport(
            at=time.time(),
            id=self._id,
            recipient=copy.path.decode("utf-8", "replace"),
            outcome=outcome,
            reply=_text(reply),
            sender=self._sender(),
            queue_id=self._queue_id,
            message_id=self._message_id,
            original_recipient=copy.original,
            maildir=copy.mailbox.maildir.path,
            folder=copy.folder or "",
            file=file,
            octets=self._octets,
            cause=cause,
            detail=detail,
            client=self._client,
            helo=self._envelope.helo,
            tls=self._envelope.tls,
            phases_ms=self._timing.phases_ms(),
        )

    def of_refusal(self, path: bytes, reply: Reply, *, cause: str, detail: str) -> RecipientReport:
        """Report on a recipient that RCPT did not accept."""
        return RecipientReport(
            at=time.time(),
            id=self._id,
            recipient=path.decode("utf-8", "replace"),
            outcome="deferred" if reply.temporary else "refused",
            reply=_text(reply),
            sender=self._sender(),
            queue_id=self._queue_id,
            cause=cause,
            detail=detail,
            client=self._client,
            helo=self._envelope.helo,
            tls=self._envelope.tls,
        )

    def _sender(self) -> str:
        return self._envelope.sender_path.decode("utf-8", "replace")


def _text(reply: Reply) -> str:
    return f"{reply.code} {reply.status} {reply.lines[0]}"
