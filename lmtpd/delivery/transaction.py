"""One mail transaction: who sends, who receives, where the body is, and the seven steps of its delivery.

The rule: recipients never share fate. Whatever fails for one copy becomes that copy's outcome; only an
abort at the barrier, which nothing has been published before, is everybody's.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from lmtpd.delivery import alias
from lmtpd.delivery.barrier import Client, barrier
from lmtpd.delivery.copy import Copy
from lmtpd.delivery.headers import Trace
from lmtpd.delivery.message import Incoming
from lmtpd.delivery.outcomes import Cause, Deferred, Delivered, refused_by, reply_for
from lmtpd.delivery.peer import Peer
from lmtpd.delivery.reception import Answer, answer_rcpt
from lmtpd.delivery.roll import Roll
from lmtpd.delivery.rounds import Delivery
from lmtpd.delivery.service import Commit, Service
from lmtpd.delivery.stage import Stager
from lmtpd.delivery.summary import Summary, Timing
from lmtpd.protocol import replies
from lmtpd.protocol.events import Envelope, RecipientOffered
from lmtpd.protocol.replies import Reply


class Transaction:
    """One mail transaction, from MAIL to the last reply. Confined to the thread of its connection."""

    def __init__(self, service: Service, peer: Peer, envelope: Envelope) -> None:
        self.id = service.next_id()
        self.envelope = envelope
        self.peer = peer
        self._service = service
        self._copies: list[Copy] = []
        self._roll = Roll()
        self._copies = self._roll.copies
        # Not of ourselves: a circle would keep the directories that the copies hold open.
        self._stager = Stager(
            service, envelope, trace_of=partial(_trace, service, envelope, peer, transaction=self.id)
        )
        self._spool = self._stager.spool(())
        self._incoming = Incoming(binary=False, spool=self._spool)
        self._timing = Timing()
        self._summary = Summary(self.id, envelope, client=str(peer), timing=self._timing)
        self._held: list[Copy] = []
        self._has_proof: bool | None = None  # that the client has read the replies; None: it may still come
        self._receiving = False  # the body has begun and not ended
        self._refusal: Reply | None = None
        self._header = b""

    def offer(self, event: RecipientOffered) -> Reply:
        """Answer RCPT: resolve the address, and accept or refuse it."""
        asked = time.monotonic()
        service = self._service
        if service.admission is None:
            size = self.envelope.size or 0
            answer = answer_rcpt(service.directory, service.quotas, event.address, octets=size)
        else:
            answer = service.admission.answer(event, self.envelope, self.peer)
        if answer.mailbox is None:
            return self._turn_away(event, answer, resolve_s=time.monotonic() - asked)
        self._timing.resolve_s += time.monotonic() - asked
        for copy in self._roll.accept((answer.mailbox, *answer.others), event):
            if service.admission is not None:
                copy.at_work = service.admission.at_work_in(copy.mailbox)
        return answer.reply

    def open_body(self) -> Reply:
        """Answer DATA or the first BDAT: 354 if at least one recipient's Maildir can be used."""
        self._timing.begin()
        for copy in self._copies:
            copy.outcome = None
            if copy.twin is None:
                self._service.rounds.guard(self.id, copy, self._stager.open)
        if self._roll.has_aliases:
            self._service.rounds.share_fate(self._copies)
        if all(copy.outcome is not None for copy in self._copies if copy.twin is None):
            # One reply for all, and the transaction stays open (RFC 5321 4.1.1.4).
            first, *_ = [self._settle_and_report(copy) for copy in self._copies]
            return first
        self._spool = self._stager.spool(self._copies)
        self._incoming = Incoming(binary=self.envelope.body == "BINARYMIME", spool=self._spool)
        self._receiving = True
        return replies.START_DATA

    def write(self, data: bytes) -> None:
        """Take the next octets of the body, un-stuffed, with the line ends of the wire; never raises."""
        self._incoming.add(data)

    def deliver(self, client: Client, refusal: Reply | None) -> Iterator[Reply]:
        """Deliver to every recipient; yield exactly one reply each, in order (RFC 2033 4.2).

        Each reply is final and the copy durable when it is yielded. The caller exhausts the iterator
        even when it cannot send any more. refusal: the session refuses the message for everybody.
        """
        delivery = self.end_body(client, refusal)
        if self._service.commit is Commit.HOLD:
            self._service.rounds.stage(delivery)
            yield from self._hold()
            return
        # 1 decide, 2 stage, 3 intend, 4 barrier, 5 publish
        self._service.rounds.deliver(delivery)
        yield from self.replies()  # 6 reply
        # 7 confirm: the connection knows when

    def end_body(self, client: Client, refusal: Reply | None) -> Delivery:
        """The body is complete: prepare its delivery, for which the caller sees to a round."""
        self._timing.ended()
        self._receiving = False
        self._refusal = refusal
        message = self._incoming.finish()
        self._incoming = Incoming(binary=False, spool=self._spool)  # lets go of the body
        self._header = message.header
        self._summary.received(message.header, message.octets)
        if refusal is not None:
            for copy in self._copies:
                copy.outcome = copy.outcome or refused_by(refusal)
        write: Callable[[Copy], None] = partial(self._stager.write, message=message, spool=self._spool)
        if self._service.announcer is not None:
            write = self._service.announcer.announcing(write, self._summary)
        return self._delivery(self._copies, write, client)

    def replies(self) -> Iterator[Reply]:
        """The delivery has had its round: yield a reply for each recipient, and report it."""
        self._timing.filter_s = self._stager.filter_s
        self._owe_notices()
        if self.owes_events:
            self._announce(self._copies)
        for copy in self._copies:
            reply = self._settle(copy)
            if copy.has_reply:
                self._timing.settled()
                yield reply
                self._timing.replied()
            self._report(copy)
        self.drop()

    @property
    def is_large(self) -> bool:
        """Whether the body is on disk already, since it is too large to wait in memory."""
        return self._spool.staged is not None

    @property
    def owes_notices(self) -> bool:
        """Whether somebody is to be told of the delivery, which is written down before the replies."""
        notices = self._service.notices
        return notices is not None and notices.wants(self.envelope, self._copies)

    @property
    def owes_events(self) -> bool:
        """Whether events may tell of recipients that are not served, which is written before the replies."""
        announcer = self._service.announcer
        return announcer is not None and announcer.owes(self._copies)

    def conclude(self) -> None:
        """`hold`: QUIT or MAIL came. Publish what was answered 250 and not dropped since.

        A QUIT or MAIL that came together with the dot proves nothing: then the records wait for confirm()
        or release() as under any other policy.
        """
        held, self._held = self._held, []
        if held:
            self._service.rounds.publish(self._delivery(held, _is_staged, None))
            self._owe_notices()
            for copy in held:
                self._settle_and_report(copy)
            self.drop()  # what turned out to be a retry's is not published
            if self._has_proof is not None:
                (self.confirm if self._has_proof else self.release)()

    def time_out(self, detail: str) -> None:
        """The client does not send the body, or too slowly; the caller drops the transaction."""
        for copy in self._copies:
            copy.outcome = copy.outcome or Deferred(Cause.TOO_SLOW, detail)

    def drop(self) -> None:
        """Discard whatever is not published. Any number of times, at any moment; never raises."""
        held, self._held = self._held, []
        for copy in held:
            copy.outcome = Deferred(Cause.CANCELLED, "RSET or a lost connection while the message was held")
            self._settle_and_report(copy)
        if self._receiving:
            self._receiving = False
            for copy in self._copies:
                copy.outcome = copy.outcome or Deferred(Cause.CLIENT_GONE, "in the middle of the message")
                self._tell(copy, None)
        for copy in self._copies:
            copy.discard()
        self._spool.discard()

    def confirm(self) -> None:
        """The client has proved that it read the replies (step 7): the records go.

        All but those of copies that were answered 4xx and may be in the mailbox all the same.
        """
        if delivered := self._roll.take_records_of_delivered():
            self._service.ledger.confirm(delivered)
        self.release()
        self._has_proof = True

    def release(self) -> None:
        """The attempt has ended without that proof: its records stay, to recognise the retry."""
        self._has_proof = False
        if recorded := self._roll.take_records():
            self._service.ledger.release(recorded)
        self._roll.close()

    # -- the steps

    def _delivery(
        self, copies: Sequence[Copy], write: Callable[[Copy], None], client: Client | None
    ) -> Delivery:
        return Delivery(
            id=self.id,
            copies=[copy for copy in copies if copy.twin is None],
            write=write,
            barrier=partial(self._abort, client),
            timing=self._timing,
            has_aliases=self._roll.has_aliases,
        )

    def _abort(self, client: Client | None) -> Deferred | None:
        if client is None:
            return None
        return barrier(client, since_end_s=self._timing.since_end_s, deadline_s=self._service.deadline_s)

    def _settle(self, copy: Copy) -> Reply:
        """Nothing happens to the copy any more."""
        for each in copy.siblings or (copy,):
            if each.outcome is None and each.twin is not None:
                each.outcome, each.folder = each.twin.outcome, each.twin.folder
        if copy.siblings:
            alias.conclude(copy)
        return self._reply(copy)

    def _reply(self, copy: Copy) -> Reply:
        if self._refusal is not None:
            return self._refusal
        outcome = copy.outcome or Delivered(copy.file)  # undecided is what `hold` answers 250
        return reply_for(outcome, address=copy.address, transaction_id=self.id)

    def _owe_notices(self) -> None:
        """Write down which "delivered" notices are owed, before the first reply is out."""
        if self.owes_notices:
            for copy in self._copies:
                self._settle(copy)
            assert self._service.notices is not None
            self._service.notices.owe(self.id, self.envelope, self._copies, header=self._header)

    def _settle_and_report(self, copy: Copy) -> Reply:
        reply = self._settle(copy)
        self._announce([copy])
        self._report(copy)
        return reply

    def _hold(self) -> Iterator[Reply]:
        self._held = [copy for copy in self._copies if (copy.twin or copy).outcome is None]
        for copy in self._copies:
            if copy not in self._held:
                self._settle_and_report(copy)
            if copy.has_reply:
                yield self._reply(copy)

    # -- around the steps

    def _turn_away(self, event: RecipientOffered, answer: Answer, *, resolve_s: float) -> Reply:
        report = self._summary.of_refusal(
            event.path, answer.reply, cause=answer.cause, detail=answer.detail, resolve_s=resolve_s
        )
        if self._service.announcer is not None:
            self._service.announcer.refused([report])
        self._service.reporter.recipient(report)
        return answer.reply

    def _announce(self, copies: Sequence[Copy]) -> None:
        if self._service.announcer is not None:
            report = partial(self._summary.of_copy, is_last=False)
            settled = [(copy, self._settle(copy)) for copy in copies]
            self._service.announcer.refused(report(copy, reply) for copy, reply in settled)

    def _report(self, copy: Copy) -> None:
        if self._service.admission is not None:
            self._service.admission.ended(copy)
        self._tell(copy, self._reply(copy))

    def _tell(self, copy: Copy, reply: Reply | None) -> None:
        is_last = copy is self._copies[-1]
        self._service.reporter.recipient(self._summary.of_copy(copy, reply, is_last=is_last))


def _trace(service: Service, envelope: Envelope, peer: Peer, *, transaction: str) -> Trace:
    return Trace.of(envelope, peer.address, service.hostname, transaction=transaction, date=service.dates())


def _is_staged(_: Copy) -> None:
    """`hold`: nothing is left to be written."""
