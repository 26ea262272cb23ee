"""A driver without a socket: answers what a session asks by simple rules and keeps all that happened."""

from collections.abc import Callable
from dataclasses import dataclass, field

from lmtpd.protocol import replies
from lmtpd.protocol.commands import BadCommand
from lmtpd.protocol.events import (
    BodyChunk,
    BodyEnded,
    BodyOffered,
    Event,
    RecipientOffered,
    TlsRequested,
)
from lmtpd.protocol.replies import Reply
from lmtpd.protocol.session import Session, SessionSettings

SETTINGS = SessionSettings("mx.example.org", message_octets=1000, recipients=5, starttls=True, xforward=True)
CLIENT = b"LHLO client.example\r\n"
SENDER = b"MAIL FROM:<s@example.org>\r\n"
RECIPIENT = b"RCPT TO:<r@example.net>\r\n"
UNKNOWN = b"RCPT TO:<unknown@example.net>\r\n"
DATA = b"DATA\r\n"


@dataclass
class Message:
    """A body that has ended, with the number of its recipients."""

    body: bytes
    refusal: Reply | None
    recipients: int


@dataclass
class Driver:
    """Talk to a session; "unknown..." is refused as a recipient, everybody else is accepted."""

    settings: SessionSettings = SETTINGS
    tls: bool = False
    body_reply: Reply = replies.START_DATA
    deliver: Callable[[RecipientOffered], Reply] = lambda offered: replies.delivered(
        str(offered.address), "ID"
    )
    output: bytes = b""
    events: list[Event] = field(default_factory=list)  # pieces of a body in one, without regard to cuts
    messages: list[Message] = field(default_factory=list)
    at_end: Callable[[Session], None] = lambda _session: None  # called when the body has ended

    def __post_init__(self) -> None:
        self.session = Session(self.settings, tls=self.tls)
        self._recipients: list[RecipientOffered] = []
        self._body = b""

    def send(self, *pieces: bytes) -> list[str]:
        """Hand the pieces to the session one by one; return the replies as ["250 2.0.0", "354", ...]."""
        said = b""
        for piece in pieces:
            self.session.receive(piece)
            said += self.run()
        return codes(said)

    def run(self) -> bytes:
        while (event := self.session.next_event()) is not None:
            self._take(event)
        said = self.session.take_output()
        self.output += said
        return said

    def _take(self, event: Event) -> None:
        if isinstance(event, BodyChunk):
            assert event.data
            if self._body:
                self.events.pop()
            self._body += event.data
            event = BodyChunk(self._body)
        self.events.append(event)
        match event:
            case RecipientOffered():
                is_known = not event.address.local.startswith("unknown")
                self.session.answer(replies.RECIPIENT_OK if is_known else replies.MAILBOX_UNKNOWN)
                if is_known:
                    self._recipients.append(event)
            case BodyOffered():
                self.session.answer(self.body_reply)
            case BodyEnded(refusal):
                self._end(refusal)
            case TlsRequested():
                self.session.tls_started()
            case BodyChunk():
                pass
            case _:
                self._recipients, self._body = [], b""

    def _end(self, refusal: Reply | None) -> None:
        assert self.session.owed == len(self._recipients) > 0
        self.at_end(self.session)
        self.messages.append(Message(self._body, refusal, len(self._recipients)))
        for number, offered in enumerate(self._recipients):
            assert self.session.owed == len(self._recipients) - number
            self.session.answer(refusal or self.deliver(offered))
        assert self.session.owed == 0
        self._recipients, self._body = [], b""


def codes(output: bytes) -> list[str]:
    """Return code and enhanced status of each reply, without the texts: ["250 2.1.0", "354"]."""
    assert output.endswith(b"\r\n") or not output
    lines = output.decode("ascii").split("\r\n")[:-1]
    finals = [line for line in lines if line[3] == " "]
    return [f"{line[:3]} {status}" if (status := enhanced_status(line)) else line[:3] for line in finals]


def enhanced_status(line: str) -> str:
    word = line[4:].split(" ", 1)[0]
    return word if word.count(".") == 2 and word.replace(".", "").isdigit() else ""


def greeted(settings: SessionSettings = SETTINGS, **how: object) -> Driver:
    """A driver whose client has said LHLO."""
    driver = Driver(settings, **how)  # type: ignore[arg-type]  # what Driver takes
    driver.send(CLIENT)
    driver.events.clear()
    driver.output = b""
    return driver


def addressed(settings: SessionSettings = SETTINGS, **how: object) -> Driver:
    """A driver with an open transaction for one recipient."""
    driver = greeted(settings, **how)
    driver.send(SENDER, RECIPIENT)
    driver.events.clear()
    driver.output = b""
    return driver


def refusal(parse: Callable[..., object], argument: bytes, **how: object) -> Reply | None:
    """How a parser of commands.py refuses an argument, if it does."""
    try:
        parse(argument, **how)
    except BadCommand as exc:
        return exc.reply
    return None


def every_cut(data: bytes) -> list[list[bytes]]:
    """Whole, cut in two at each place, and byte by byte."""
    in_two = [[data[:cut], data[cut:]] for cut in range(1, len(data))]
    return [[data], *in_two, [data[index : index + 1] for index in range(len(data))]]
