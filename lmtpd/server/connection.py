"""One client, from its socket to its replies. Long because every event of a connection is handled here.

The rule: no decision about the protocol is made here (that is the session's) and none about mail (the
transaction's). What is decided here is *when* bytes are read and written, for three promises hang on it:

* replies to pipelined commands leave together, when all input is used up (RFC 2920 3.2); each final reply
  leaves alone, as soon as it is final (RFC 2033 5);
* the barrier: before anything is published the client is looked at a last time (barrier.py);
* the proof: the client has read its replies when bytes come in that it cannot have sent before it got
  them. So whatever has arrived is taken in just before the last reply leaves: what was there already
  proves nothing, a QUIT least of all, which Postfix sends together with the dot.
"""

import time
from collections.abc import Callable, Generator, Iterator
from ssl import SSLContext

from lmtpd.delivery.service import Commit, Service
from lmtpd.delivery.transaction import Transaction
from lmtpd.protocol import events, replies
from lmtpd.protocol.replies import Reply
from lmtpd.protocol.session import Session
from lmtpd.server.barrier import Barrier
from lmtpd.server.drain import Drain
from lmtpd.server.proof import Unproven
from lmtpd.server.stream import PeerLost, PeerSilent, Stream, StreamError
from lmtpd.server.talk import OWN_THREAD, Receive, Talk, Want, run_alone

COMMAND_OCTETS = 16 * 1024  # a thread at rest holds a buffer of this size; Postfix's groups have 4 KiB
BODY_OCTETS = 64 * 1024
# For bodies that filled the former. Not for all: malloc() maps it anew each time.
LARGE_BODY_OCTETS = 256 * 1024
FAREWELL_S = 5.0  # for the end of the stream behind our last words; a thread waits, nobody else


Delivering = Generator[Want, bytes | None, Iterator[Reply]]

FOR_COMMANDS = Receive(COMMAND_OCTETS)
FOR_THE_REST = Receive(COMMAND_OCTETS, goes_on=True)


class Connection:
    """One client, from the greeting to the close. In one thread at a time.

    `begin` makes the transaction for an accepted MAIL; `is_crowded` tells, at MAIL, whether all its
    recipients are to be answered 451 because there are too many connections.
    """

    def __init__(
        self,
        stream: Stream,
        session: Session,
        *,
        service: Service,
        begin: Callable[[events.Envelope], Transaction],
        is_crowded: Callable[[], bool],
        drain: Drain,
        tls: SSLContext | None = None,
    ) -> None:
        self._stream = stream
        self._session = session
        self._barrier = Barrier(stream, session, service.commit)
        self._service = service
        self._begin = begin
        self._is_crowded = is_crowded
        self._drain = drain
        self._tls = tls
        self._open = True
        self._crowded = False
        self._broken = False  # a bug hit the open transaction
        self._body_octets = BODY_OCTETS
        self._transaction: Transaction | None = None  # not yet answered
        self._held: Transaction | None = None  # answered, and not published until QUIT or MAIL (`hold`)
        self._unproven = Unproven()
        self._alone = False  # a thread is ours until the end, so we may wait

    def serve(self) -> None:
        """Talk in this thread until one side ends it. A bug of the driver or the session rises."""
        self.go_on(self.talk())

    def go_on(self, talk: Talk) -> None:
        """Go on with a talk in this thread, which is its own from here on."""
        self._alone = True
        run_alone(talk, self._stream, self._service.rounds)

    def talk(self) -> Talk:
        """Talk until one side ends it; yield what must happen before it can go on."""
        session = self._session
        try:
            if self._service.commit is Commit.HOLD:  # every command may publish, or discard
                yield from self._in_own_thread()
            session.greet()
            while self._open:
                event = session.next_event()
                if event is None:
                    yield from self._read()
                elif (rest := self._begin_on(event)) is not None:
                    yield from self._guarded(rest, event)
        except StreamError:
            pass  # there is nobody to tell; the transaction reports its recipients
        finally:
            self._part()

    # -- input

    def _read(self) -> Talk:
        """Send what is pending, then wait for input: all that has come is used up."""
        session = self._session
        if output := session.take_output():
            yield from self._send(output)
        drain = self._drain
        if drain.begun and time.monotonic() >= drain.presses_at and self._is_idle():
            yield from self._hang_up(session.shut_down)
            return
        # Half a line, or a body that is under way, was begun before: its rest proves nothing.
        is_new = not (session.has_input or session.in_body)
        try:
            data = yield self._wanted(is_new=is_new)
        except PeerSilent as exc:
            if self._transaction is not None:
                self._transaction.time_out(str(exc))
            yield from self._hang_up(session.time_out)
            return
        if data is None:
            if self._is_idle() or time.monotonic() >= drain.ends_at:
                yield from self._hang_up(session.shut_down)
            return
        if not data:
            raise PeerLost("end of stream")
        if self._unproven and is_new:
            self._unproven.confirm()
        if len(data) == BODY_OCTETS:
            self._body_octets = LARGE_BODY_OCTETS
        session.receive(data)

    def _wanted(self, *, is_new: bool) -> Receive:
        session = self._session
        if session.in_body:
            return Receive(self._body_octets, goes_on=not is_new or session.in_message)
        return FOR_COMMANDS if is_new and not session.in_message else FOR_THE_REST

    def _is_idle(self) -> bool:
        return self._transaction is None and not self._session.has_input

    # -- events

    def _begin_on(self, event: events.Event) -> Talk | None:
        """Do what an event says; what is left of it has to wait for something."""
        try:
            return self._obey(event)
        except StreamError:
            raise
        except Exception as exc:  # noqa: BLE001 a bug of ours is a 451 for these recipients, no more
            self._service.reporter.bug(exc)
            self._answer_after_bug(event)
            return None

    def _guarded(self, rest: Talk, event: events.Event) -> Talk:
        try:
            yield from rest
        except StreamError:
            raise
        except Exception as exc:  # noqa: BLE001 as above
            self._service.reporter.bug(exc)
            self._answer_after_bug(event)

    def _obey(self, event: events.Event) -> Talk | None:
        match event:
            case events.BodyChunk(data):
                return self._write(data)
            case events.RecipientOffered():
                return self._answer_recipient(event)
            case events.BodyEnded(refusal):
                return self._deliver(refusal)
            case events.TransactionStarted(envelope):
                self._start(envelope)
            case events.BodyOffered():
                transaction = self._transaction
                self._session.answer(transaction.open_body() if transaction else replies.LOCAL_ERROR)
            case events.TransactionDropped():
                self._drop()
            case events.TlsRequested():
                return self._start_tls()
            case events.Closed():
                return self._close()
        return None

    def _in_own_thread(self) -> Talk:
        if not self._alone:
            yield OWN_THREAD

    def _start(self, envelope: events.Envelope) -> None:
        self._conclude()
        self._broken = False
        self._crowded = self._is_crowded()
        if not self._crowded:
            self._transaction = self._begin(envelope)

    def _answer_recipient(self, event: events.RecipientOffered) -> Talk:
        if self._service.directory.may_wait:
            yield from self._in_own_thread()
        self._session.answer(self._reply_to(event))

    def _reply_to(self, event: events.RecipientOffered) -> Reply:
        if self._crowded:
            return replies.OVERLOADED
        return self._transaction.offer(event) if self._transaction else replies.LOCAL_ERROR

    def _write(self, data: bytes) -> Talk | None:
        transaction = self._transaction
        if transaction is None:
            return None
        transaction.write(data)
        return self._in_own_thread() if transaction.is_large else None  # a disk may make us wait

    def _deliver(self, refusal: Reply | None) -> Talk:
        """Have the message delivered, and answer each recipient (RFC 2033 4.2)."""
        session, transaction = self._session, self._transaction
        if transaction is None or self._broken:
            self._answer_all()
            return
        lost = not self._try_to_flush()  # replies of a pipelined group need not wait for the disk
        answers = yield from self._delivered(transaction, refusal)
        is_all = True
        for reply in answers:
            # The last reply is about to leave. poll(2) before recv(2): a client that waits, as most do,
            # costs one call and no exception, and the end of the stream shows even behind a QUIT. The
            # barrier's look cannot stand in: a QUIT that came while we published would pass for a proof.
            if session.owed == 1 and self._stream.look().readable:
                is_all = self._barrier.take_arrived()
            session.answer(reply)
            # The transaction goes on without its client: what is published is recognised at the retry.
            lost = not self._try_to_flush() or lost
        assert session.owed == 0, f"{session.owed} recipients without a reply"
        self._transaction = None
        self._body_octets = BODY_OCTETS
        if self._service.commit is Commit.HOLD:
            self._held = transaction
        if is_all and not lost and not self._stream.ended:
            self._unproven.add(transaction)
        else:
            transaction.release()
        if lost:
            self._service.reporter.count("aborts", "reply")
            raise PeerLost("while its replies were sent")

    def _delivered(self, transaction: Transaction, refusal: Reply | None) -> Delivering:
        """Have a message go through its steps; return the replies."""
        if self._alone:
            return transaction.deliver(self._barrier, refusal)
        delivery = transaction.end_body(self._barrier, refusal)
        rounds = self._service.rounds
        if delivery.file_system is None or transaction.owes_notices:
            yield OWN_THREAD
            rounds.deliver(delivery)
            return transaction.replies()
        yield delivery
        if delivery.waits or transaction.owes_events:
            yield OWN_THREAD
        rounds.settle(delivery)
        return transaction.replies()

    def _start_tls(self) -> Talk:
        assert self._tls is not None
        yield from self._in_own_thread()
        self._flush()
        self._stream.start_tls(self._tls)
        self._session.tls_started()

    def _close(self) -> Talk:
        """QUIT, or the session has had enough: the last words, and the end of the stream as a proof."""
        self._conclude()
        self._open = False
        self._flush()
        # Closing over unread input would reset the connection, and perhaps lose our last words.
        if self._unproven or self._stream.look().readable:
            yield from self._in_own_thread()
            if self._stream.end_orderly(FAREWELL_S):
                self._unproven.confirm()

    def _hang_up(self, say: Callable[[], None]) -> Talk:
        """End it from our side. What is held has been answered 250: silence does not cancel it."""
        self._conclude()
        self._open = False
        say()
        self._flush()
        if self._stream.look().readable:
            yield from self._in_own_thread()
            self._stream.end_orderly(FAREWELL_S)

    # -- transactions

    def _conclude(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            held.conclude()

    def _drop(self) -> None:
        for transaction in (self._held, self._transaction):
            if transaction is not None:
                transaction.drop()
        self._held = self._transaction = None
        self._body_octets = BODY_OCTETS

    def _part(self) -> None:
        """Leave nothing behind, whatever ended the connection. Never raises."""
        try:
            self._drop()
            self._unproven.release()
        except Exception as exc:  # noqa: BLE001 the thread has other clients to serve
            self._service.reporter.bug(exc)
        self._stream.close()

    def _answer_after_bug(self, event: events.Event) -> None:
        """Keep the session in step: whoever still waits for an answer gets 451."""
        match event:
            case events.RecipientOffered() | events.BodyOffered():
                self._session.answer(replies.LOCAL_ERROR)
            case events.BodyChunk():
                self._broken = True
            case events.BodyEnded():
                self._answer_all()
            case events.TransactionStarted() | events.TransactionDropped() | events.TlsRequested():
                pass
            case events.Closed():
                self._open = False
                self._flush()

    def _answer_all(self) -> None:
        """Answer whoever is left with 451; what the transaction has done stays unproven."""
        while self._session.owed:
            self._session.answer(replies.LOCAL_ERROR)
        transaction, self._transaction = self._transaction, None
        if transaction is not None:
            transaction.drop()
            transaction.release()

    # -- output

    def _send(self, output: bytes) -> Talk:
        """Send to a client that may not read: nobody else waits for that."""
        if not self._alone:
            output = self._stream.send_at_once(output)
            if output:
                yield OWN_THREAD
        if output:
            self._stream.send(output)

    def _flush(self) -> None:
        if data := self._session.take_output():
            self._stream.send(data)

    def _try_to_flush(self) -> bool:
        try:
            self._flush()
        except StreamError:
            return False
        return True
