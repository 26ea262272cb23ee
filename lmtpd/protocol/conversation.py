"""What a session remembers, and the few moves that all commands are made of: say, refuse, ask, close."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from lmtpd.protocol import replies
from lmtpd.protocol.events import NOT_FORWARDED, Closed, Envelope, Event, TransactionDropped
from lmtpd.protocol.replies import Reply
from lmtpd.protocol.settings import SessionSettings
from lmtpd.protocol.states import CLOSED, FRESH, State
from lmtpd.protocol.wire import BodyReader, ChunkReader, Input

# Replies that say that the client's program is wrong; so many in a row end the session.  A 550 is not among
# them: an honest client may get many.
_BAD = frozenset({500, 501, 503})


class SessionMisused(AssertionError):
    """The driver broke the contract: an answer too many, or none where one is due.  A bug of ours."""


@dataclass(slots=True)
class OpenTransaction:
    """One mail transaction from MAIL to the last reply: its recipients counted, its body measured."""

    envelope: Envelope
    accepted: int = 0  # recipients
    octets: int = 0  # of the body so far, with what was thrown away
    refusal: Reply | None = None  # of the body, which is then read to its end and thrown away
    _refusal_said: bool = False

    def wants(self, data: bytes, message_octets: int) -> bool:
        """Count a piece of the body; say whether to hand it on.  Once the body is too large, none is."""
        self.octets += len(data)
        if self.octets > message_octets and self.refusal is None:
            self.refusal = replies.TOO_LARGE
        return self.refusal is None

    def reply_to_chunk(self, octets: int) -> Reply:
        """Return the reply to a chunk that is not the last."""
        if self.refusal is None:
            return replies.chunk_received(octets)
        if self._refusal_said:
            return replies.CHUNKS_REFUSED
        self._refusal_said = True
        return self.refusal


class Conversation:
    """The memory of one session.  Session and the commands in verbs.py work on it, nobody else."""

    __slots__ = (
        "after",
        "awaits",
        "bad_commands",
        "events",
        "forwarded",
        "helo",
        "input",
        "maybe_transaction",
        "output",
        "owed",
        "reader",
        "refused_verbs",
        "settings",
        "state",
        "tls",
    )

    def __init__(self, settings: SessionSettings, *, tls: bool) -> None:
        self.settings = settings
        self.awaits: Taker | None = None  # takes the answer that is due
        self.after = FRESH  # where it leads if it is a yes
        self.owed = 0  # answers due for the body that has ended
        self.maybe_transaction: OpenTransaction | None = None
        self.forwarded = NOT_FORWARDED  # by XFORWARD, for the next transaction
        self.bad_commands = 0  # in a row
        self.input = Input(settings.command_octets)
        self.reader: BodyReader | ChunkReader | None = None  # reads the input now; None: command lines
        self.events: deque[Event] = deque()  # to be told to the driver
        self.output: list[bytes] = []  # to be sent to the peer
        self.begin(tls=tls)

    def begin(self, *, tls: bool) -> None:
        """Be as after connecting."""
        self.tls = tls
        self.state = FRESH
        self.helo = ""
        self.refused_verbs = self.settings.refused_verbs(tls=tls)

    @property
    def transaction(self) -> OpenTransaction:
        """The open transaction, in states that have one."""
        assert self.maybe_transaction is not None
        return self.maybe_transaction

    def say(self, reply: Reply) -> None:
        """Queue a reply."""
        self.output.append(reply.encode())

    def refuse(self, reply: Reply) -> None:
        """Say no; to one bad command too many in a row by closing."""
        self.bad_commands = self.bad_commands + 1 if reply.code in _BAD else 0
        if self.bad_commands > self.settings.bad_commands:
            self.close(replies.TOO_MANY_BAD_COMMANDS)
        else:
            self.say(reply)

    def ask(self, question: Event, after: State, taker: "Taker") -> None:
        """Hand a question to the driver; taker gets the answer, after is where a yes leads."""
        self.after = after
        self.awaits = taker
        self.events.append(question)

    def start_over(self, state: State) -> None:
        """Drop the transaction before it has come to its end, and tell the driver."""
        self.end_transaction(state)
        self.events.append(TransactionDropped())

    def end_transaction(self, state: State) -> None:
        """Forget the transaction."""
        self.state = state
        self.maybe_transaction = None
        self.forwarded = NOT_FORWARDED  # it was about this message; Postfix's smtpd forgets it here, too

    def close(self, last_word: Reply) -> None:
        """Say the last word and look at nothing that comes after it."""
        if self.awaits is not None:
            raise SessionMisused("an answer is due")
        if self.state is not CLOSED:
            self.state = CLOSED
            self.reader = None
            self.input.clear()
            self.say(last_word)
            self.events.append(Closed())


Taker: TypeAlias = Callable[[Conversation, Reply], None]
