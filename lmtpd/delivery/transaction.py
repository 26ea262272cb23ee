"""One mail transaction: who sends, who receives, where the body is, and the seven steps of its delivery.

The rule: recipients never share fate. Whatever fails for one copy becomes that copy's outcome; only an
abort at the barrier, which nothing has been published before, is everybody's.
"""

import time
from collections.abc import Callable, Iterator
from functools import partial

from lmtpd.delivery import alias
from lmtpd.delivery.barrier import Client, barrier
from lmtpd.delivery.copy import Copy
from lmtpd.delivery.headers import Trace
from lmtpd.delivery.message import Incoming
from lmtpd.delivery.outcomes import Cause, Deferred, Delivered, deferred_by, refused_by, reply_for
from lmtpd.delivery.peer import Peer
from lmtpd.delivery.publish import publish
from lmtpd.delivery.reception import Answer, answer_rcpt
from lmtpd.delivery.roll import Roll
from lmtpd.delivery.service import Commit, Service
from lmtpd.delivery.stage import Stager
from lmtpd.delivery.summary import Summary, Timing
from lmtpd.protocol import replies
from lmtpd.protocol.events import Envelope, RecipientOffered
from lmtpd.protocol.replies import Reply
from storage.errors import StorageError


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
        self._stager = Stager(service, envelope, trace_of=self._trace)
        self._spool = self._stager.spool(())
        self._incoming = Incoming(binary=False, spool=self._spool)
        self._timing = Timing()
        self._summary = Summary(self.id, envelope, client=str(peer), timing=self._timing)
        self._held: list[Copy] = []
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
                self._guard(copy, self._stager.open)
        self._share_fate()
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
        try:
            self._prepare(refusal)  # 1 decide, 2 stage
            if self._service.commit is Commit.HOLD:
                yield from self._hold()
                return
            self._commit(client)  # 3 intend, 4 barrier, 5 publish
            self._owe_notices()
            for copy in self._copies:
                reply = self._settle(copy)
                if copy.has_reply:
                    self._timing.settled()
                    yield reply  # 6 reply
                    self._timing.replied()
                self._report(copy)
            # 7 confirm: the connection knows when
        finally:
            if not self._held:
                self.drop()

    def conclude(self) -> None:
        """`hold`: QUIT or MAIL came. Publish what was answered 250 and not dropped since."""
        held, self._held = self._held, []
        if held:
            self._commit(None)
            self._owe_notices()
            for copy in held:
                self._settle_and_report(copy)
            self.confirm()

    def time_out(self, detail: str) -> None:
        """The client does not send the body, or too slowly; the caller drops the transaction."""
        for copy in self._copies:
            copy.outcome = copy.outcome or Deferred(Cause.TOO_SLOW, detail)

    def drop(self) -> None:
        """Discard whatever is not published. Any number of times, at any moment; never raises."""
        held, self._held = self._held, []
        for copy in held:
            copy.outcome = Deferred(Cause.CANCELLED, "RSET or a lost connection while the message was held")
            self._report(copy)
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

    def release(self) -> None:
        """The attempt has ended without that proof: its records stay, to recognise the retry."""
        if recorded := self._roll.take_records():
            self._service.ledger.release(recorded)
        self._roll.close()

    # -- steps 1 and 2: decide, stage

    def _prepare(self, refusal: Reply | None) -> None:
        self._timing.ended()
        self._receiving = False
        self._refusal = refusal
        message = self._incoming.finish()
        self._header = message.header
        self._summary.received(message.header, message.octets)
        for copy in self._copies:
            if refusal is not None:
                copy.outcome = copy.outcome or refused_by(refusal)
            elif copy.outcome is None and copy.twin is None:
                self._guard(copy, lambda copy: self._stager.write(copy, message, self._spool))
        self._incoming = Incoming(binary=False, spool=self._spool)  # lets go of the body
        self._timing.filter_s = self._stager.filter_s
        self._timing.staged()
        # All copies are written before the first is synced: one journal commit serves many.
        for copy in self._copies:
            if copy.staged is not None and copy.outcome is None:
                self._guard(copy, Copy.sync)
        self._share_fate()
        self._timing.synced()

    # -- steps 3, 4 and 5: intend, barrier, publish

    def _commit(self, client: Client | None) -> None:
        """Record, ask the client a last time, and rename; nothing of this is visible before the rename."""
        staged = [copy for copy in self._copies if copy.staged is not None and copy.outcome is None]
        if self._service.intents is not None and staged:
            self._service.intents.record(staged)
        self._share_fate()
        self._timing.recorded()
        staged = [copy for copy in staged if copy.outcome is None]
        if (abort := self._abort(client)) is not None:
            self._abandon(staged, abort)
            return
        for copy in staged:
            self._guard(copy, partial(publish, intents=self._service.intents))

    def _abort(self, client: Client | None) -> Deferred | None:
        if client is None:
            return None
        return barrier(client, since_end_s=self._timing.since_end_s, deadline_s=self._service.deadline_s)

    def _abandon(self, copies: list[Copy], abort: Deferred) -> None:
        for copy in copies:
            copy.outcome = abort
        self._withdraw(copies)

    def _withdraw(self, copies: list[Copy]) -> None:
        """Nothing of these was published, and nothing will be."""
        keys = [copy.key for copy in copies if copy.recorded]
        for copy in copies:
            copy.recorded = False
            copy.discard()
        if keys:
            self._service.ledger.withdraw(keys)

    def _share_fate(self) -> None:
        if self._roll.has_aliases:
            self._withdraw(alias.share_fate(self._copies))

    # -- step 6: reply

    def _settle(self, copy: Copy) -> Reply:
        """Make copy's outcome final: durable if it was published. The sync of one new/ serves all in it."""
        for each in copy.siblings or (copy,):
            if each.outcome is None:
                self._finish(each)
        if copy.siblings:
            alias.conclude(copy)
        return self._reply(copy)

    def _finish(self, copy: Copy) -> None:
        if copy.twin is not None:
            copy.outcome, copy.folder = copy.twin.outcome, copy.twin.folder
        else:
            self._guard(copy, Copy.sync_directory)

    def _reply(self, copy: Copy) -> Reply:
        if self._refusal is not None:
            return self._refusal
        outcome = copy.outcome or Delivered(copy.file)  # undecided is what `hold` answers 250
        return reply_for(outcome, address=copy.address, transaction_id=self.id)

    def _owe_notices(self) -> None:
        """Write down which "delivered" notices are owed, before the first reply is out."""
        notices = self._service.notices
        if notices is not None and notices.wants(self.envelope, self._copies):
            for copy in self._copies:
                self._settle(copy)
            notices.owe(self.id, self.envelope, self._copies, header=self._header)

    def _settle_and_report(self, copy: Copy) -> Reply:
        reply = self._settle(copy)
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
        self._service.reporter.recipient(report)
        return answer.reply

    def _trace(self) -> Trace:
        service = self._service
        return Trace.of(
            self.envelope, self.peer.address, service.hostname, transaction=self.id, date=service.dates()
        )

    def _guard(self, copy: Copy, step: Callable[[Copy], None]) -> None:
        """Do one step for one copy; what goes wrong is that copy's outcome (RFC 2033 4.2)."""
        try:
            with copy.at_work:
                step(copy)
        except StorageError as exc:
            copy.outcome = deferred_by(exc)
        except Exception as exc:  # noqa: BLE001 a bug of ours: this recipient's mail waits, nobody's bounces
            self._service.reporter.bug(exc, transaction=self.id, recipient=copy.address)
            copy.outcome = Deferred(Cause.BUG, repr(exc))

    def _report(self, copy: Copy) -> None:
        if self._service.admission is not None:
            self._service.admission.ended(copy)
        self._tell(copy, self._reply(copy))

    def _tell(self, copy: Copy, reply: Reply | None) -> None:
        is_last = copy is self._copies[-1]
        self._service.reporter.recipient(self._summary.of_copy(copy, reply, is_last=is_last))
