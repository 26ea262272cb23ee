"""The server's side of one LMTP connection as a state machine (RFC 2033, RFC 5321 4.1.4, RFC 3030).

Owns the count of replies: one per command, and after the end of the message one per accepted recipient, in
order, duplicates included.  Bytes go in by receive(), events come out by next_event(), the decisions of
others go in by answer(), bytes come out by take_output().  states.py is the table of what may be said when,
verbs.py what each command does.

A client that loses count takes one reply for another and loses mail.  So whatever is refused is still read to
its end, and the session does not go on while an answer is missing.
"""

from lmtpd.protocol import commands, replies
from lmtpd.protocol.commands import BadCommand
from lmtpd.protocol.conversation import Conversation, SessionMisused
from lmtpd.protocol.events import BodyChunk, BodyEnded, Envelope, Event
from lmtpd.protocol.replies import Reply
from lmtpd.protocol.settings import SessionSettings
from lmtpd.protocol.states import BODY, CLOSED, IDLE, NEXT, OWING, SECURING, SENDER, TURNED_AWAY, out_of_order
from lmtpd.protocol.verbs import HANDLERS, bdat
from lmtpd.protocol.wire import BadLine, BodyReader, ChunkReader, LineTooLong

__all__ = ["Session", "SessionMisused", "SessionSettings"]


class Session:
    """One connection, seen from the protocol.  Used by the one thread that owns the connection."""

    __slots__ = ("_talk",)

    def __init__(self, settings: SessionSettings, *, tls: bool = False) -> None:
        self._talk = Conversation(settings, tls=tls)

    def greet(self) -> None:
        """Queue the greeting."""
        self._talk.say(replies.greeting(self._talk.settings.hostname))

    def receive(self, data: bytes) -> None:
        """Take what the peer has sent.  Thrown away after the end, and between STARTTLS and TLS."""
        if self._talk.state is not CLOSED and self._talk.state is not SECURING:
            self._talk.input.add(data)

    def next_event(self) -> Event | None:
        """Read on to the next event; None: more input is needed.  Within a body it hands out what is there.

        Raises SessionMisused while an answer is due.
        """
        talk = self._talk
        while not talk.events:
            if talk.awaits is not None:
                raise SessionMisused("an answer is due")
            if not (_read_command(talk) if talk.reader is None else _read_body(talk, talk.reader)):
                return None
        return talk.events.popleft()

    def answer(self, reply: Reply) -> None:
        """Answer the latest RecipientOffered or BodyOffered, or the next recipient after BodyEnded.

        Raises SessionMisused when none is due.
        """
        talk = self._talk
        if talk.awaits is None or talk.events:
            raise SessionMisused("no answer is due")
        talk.awaits(talk, reply)

    def take_output(self) -> bytes:
        """Return what is queued for the peer, who waits for it when next_event() is None; and forget it."""
        output = b"".join(self._talk.output)
        self._talk.output.clear()
        return output

    @property
    def envelope(self) -> Envelope | None:
        """The envelope of the open transaction."""
        transaction = self._talk.maybe_transaction
        return None if transaction is None else transaction.envelope

    @property
    def owed(self) -> int:
        """How many answers are due for the body that has ended."""
        return self._talk.owed

    @property
    def has_input(self) -> bool:
        """Whether bytes were received that nobody has read."""
        return bool(self._talk.input)

    @property
    def in_body(self) -> bool:
        """Whether the next bytes from the peer belong to a body."""
        return self._talk.reader is not None and self._talk.awaits is None

    @property
    def in_message(self) -> bool:
        """Whether a body has begun and not ended; so also between the chunks of BDAT."""
        return self._talk.state is BODY

    def cancels(self) -> bool:
        """Whether the client took its message back by what it sent behind the dot (commands.is_cancelled)."""
        return commands.is_cancelled(self._talk.input.unread())

    def tls_started(self) -> None:
        """Begin anew under TLS: what was said in the clear is forgotten (RFC 3207 4.2)."""
        self._talk.begin(tls=True)

    def time_out(self) -> None:
        """End the session because the client is silent (RFC 5321 4.5.3.2.7)."""
        self._talk.close(replies.IDLE_TOO_LONG)

    def shut_down(self) -> None:
        """End the session because the server stops."""
        self._talk.close(replies.SHUTTING_DOWN)


def _read_command(talk: Conversation) -> bool:
    """Read and obey one line; False if none is complete."""
    try:
        line = talk.input.next_line()
        if line is None:
            return False
        _obey(talk, line)
    except BadLine as bad_line:
        _refuse_line(talk, bad_line)
    except BadCommand as bad_command:
        talk.refuse(bad_command.reply)
    return True


def _obey(talk: Conversation, line: bytes) -> None:
    verb, _, argument = line.rstrip(b" \t").partition(b" ")
    verb = verb.upper()
    after = NEXT[talk.state].get(verb)
    if verb in talk.refused_verbs:
        talk.refuse(talk.refused_verbs[verb])
    elif after is not None:
        HANDLERS[verb](talk, argument, after)
        talk.bad_commands = 0
    elif verb == b"BDAT":
        bdat(talk, argument, talk.state)  # its octets follow even where it must be refused
    elif verb.startswith(b"BDAT"):
        talk.close(replies.BDAT_SYNTAX)  # as they do behind "BDAT<TAB>5"
    elif talk.state is TURNED_AWAY and verb in (b"RCPT", b"DATA"):
        talk.say(replies.MAIL_FIRST)  # not the client's fault: it pipelined, and we refused its MAIL
    else:
        talk.refuse(out_of_order(verb, talk.state))


def _refuse_line(talk: Conversation, bad: BadLine) -> None:
    if bad.head[:4].upper() == b"BDAT":
        talk.close(replies.BDAT_SYNTAX)
    else:
        talk.refuse(replies.LINE_TOO_LONG if isinstance(bad, LineTooLong) else replies.STRAY_BYTE)


def _read_body(talk: Conversation, reader: BodyReader | ChunkReader) -> bool:
    """Read a piece of a body; False if more input is needed."""
    data, has_ended = reader.read(talk.input)
    if data and talk.state is BODY and talk.transaction.wants(data, talk.settings.message_octets):
        talk.events.append(BodyChunk(data))
    if has_ended:
        talk.reader = None
        _end_body(talk, reader)
    return has_ended or bool(talk.events)


def _end_body(talk: Conversation, reader: BodyReader | ChunkReader) -> None:
    """Do what is due behind the dot, or behind the last octet of a chunk."""
    if talk.state is not BODY:
        _end_stray_chunk(talk, reader)
    elif isinstance(reader, ChunkReader) and not reader.is_last:
        talk.say(talk.transaction.reply_to_chunk(reader.octets))
    else:
        talk.owed = talk.transaction.accepted
        talk.ask(BodyEnded(talk.transaction.refusal), IDLE, _delivery_answered)
        talk.state = OWING


def _end_stray_chunk(talk: Conversation, chunk: BodyReader | ChunkReader) -> None:
    """Answer a chunk without recipients: 503, but behind the last one a reply for each: none (RFC 2033 4.3).

    Where we refused the sender or all recipients the client is not to blame, and 503 does not count.
    """
    if talk.state is not SENDER and talk.state is not TURNED_AWAY:
        talk.refuse(out_of_order(b"BDAT", talk.state))
    elif not chunk.is_last:
        talk.say(replies.NO_VALID_RECIPIENTS)
    elif talk.state is SENDER:
        talk.start_over(IDLE)
    else:
        talk.end_transaction(IDLE)  # none that the driver knows of


def _delivery_answered(talk: Conversation, reply: Reply) -> None:
    if reply.accepted and talk.transaction.refusal is not None:
        raise SessionMisused("the body was refused")
    talk.say(reply)
    talk.owed -= 1
    if not talk.owed:
        talk.awaits = None
        talk.end_transaction(talk.after)
