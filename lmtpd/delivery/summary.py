"""What is told of a transaction: phase times, and one report per recipient."""

import time

from lmtpd.delivery.copy import Copy
from lmtpd.delivery.headers import date_of, message_id_of, queue_id_of, topmost_received
from lmtpd.delivery.outcomes import Deferred, Delivered, Refused
from lmtpd.protocol.events import Envelope
from lmtpd.protocol.replies import Reply
from lmtpd.report.records import OutcomeWord, RecipientReport


class Timing:
    """When each phase of a delivery ended, on the monotonic clock; and the sums that are no such stretch."""

    __slots__ = ("_begun", "_ended", "_mark", "_recorded", "_staged", "_synced", "filter_s", "reply_s",
                 "resolve_s")  # fmt: skip

    def __init__(self) -> None:
        self._begun = self._ended = self._staged = self._synced = self._recorded = self._mark = 0.0
        self.resolve_s = 0.0  # of all recipients together
        self.filter_s = 0.0  # as well
        self.reply_s = 0.0  # of those answered so far

    def begin(self) -> None:
        """The client was told to send the body."""
        self._begun = time.monotonic()
        self._staged = self._synced = self._recorded = self._mark = 0.0

    def ended(self) -> None:
        """The end of the body has been read."""
        self._ended = time.monotonic()

    def staged(self) -> None:
        """All copies are written to tmp/."""
        self._staged = time.monotonic()

    def synced(self) -> None:
        """All copies in tmp/ are synced."""
        self._synced = time.monotonic()

    def recorded(self) -> None:
        """The ledger has them."""
        self._recorded = time.monotonic()

    def settled(self) -> None:
        """A copy is final, and its reply about to leave."""
        self._mark = time.monotonic()

    def replied(self) -> None:
        """The reply has left."""
        self.reply_s += time.monotonic() - self._mark

    def since_end_s(self) -> float:
        """Seconds since the end of the body was read."""
        return time.monotonic() - self._ended

    def phases_ms(self) -> dict[str, float]:
        """How long each phase took, as far as they were reached; publishing includes the sync of new/."""
        phases = {"resolve": _ms(self.resolve_s)}
        if self._begun and self._ended:
            phases["receive"] = _ms(self._ended - self._begun)
        if self._staged:
            phases["filter"] = _ms(self.filter_s)
            phases["stage"] = _ms(self._staged - self._ended - self.filter_s)
        if self._synced:
            phases["sync"] = _ms(self._synced - self._staged)
        if self._recorded:
            phases["record"] = _ms(self._recorded - self._synced)
            phases["publish"] = _ms((self._mark or time.monotonic()) - self._recorded - self.reply_s)
        if self._mark:
            phases["reply"] = _ms(self.reply_s)
        return phases


def _ms(duration_s: float) -> float:
    return int(duration_s * 100_000 + 0.5) / 100  # a quarter of the time of round()


class Summary:
    """Reports on the recipients of one transaction; what they share is looked up once."""

    __slots__ = ("_client", "_envelope", "_id", "_message_id", "_octets", "_queue_id", "_received",
                 "_timing")  # fmt: skip

    def __init__(self, transaction_id: str, envelope: Envelope, *, client: str, timing: Timing) -> None:
        self._id = transaction_id
        self._envelope = envelope
        self._client = client
        self._timing = timing
        self._message_id = ""
        self._received = ""
        self._octets: int | None = None
        self._queue_id = envelope.forwarded.get("IDENT", "")

    def received(self, header: bytes, octets: int) -> None:
        """The body is complete: learn its Message-ID, and its queue id unless the client has told it."""
        self._octets = octets
        self._message_id = message_id_of(header)
        received = topmost_received(header)
        self._received = date_of(received)
        if not self._queue_id:
            self._queue_id = queue_id_of(received)

    def of_copy(self, copy: Copy, reply: Reply | None, *, is_last: bool) -> RecipientReport:
        """Report what became of an accepted recipient; without a reply the client gave up before the end."""
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
        if reply is None:
            outcome = "dropped"
        return RecipientReport(
            at=time.time(),
            id=self._id,
            recipient=copy.path.decode("utf-8", "replace"),
            outcome=outcome,
            reply=_text(reply) if reply is not None else "",
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
            is_last=is_last,
            received=self._received,
        )

    def facts_of(self, copy: Copy) -> dict[str, object]:
        """What an event tells of a copy that is about to be delivered."""
        return {
            "recipient": copy.address,
            "original_recipient": copy.original,
            "sender": f"<{self._sender()}>",
            "message_id": self._message_id,
            "queue_id": self._queue_id,
            "transaction": self._id,
            "folder": copy.folder or "",
            "octets": self._octets,
            "client": self._client,
        }

    def of_refusal(
        self, path: bytes, reply: Reply, *, cause: str, detail: str, resolve_s: float = 0.0
    ) -> RecipientReport:
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
            phases_ms={"resolve": round(resolve_s * 1000, 2)},
            is_last=True,  # nobody else shares this look-up
        )

    def _sender(self) -> str:
        return self._envelope.sender_path.decode("utf-8", "replace")


def _text(reply: Reply) -> str:
    return f"{reply.code} {reply.status} {reply.lines[0]}"
