"""What a session tells its driver.  Where it says "needs answer()", the session does not go on without it."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from lmtpd.protocol.addresses import Address
from lmtpd.protocol.replies import Reply

BodyType = Literal["7BIT", "8BITMIME", "BINARYMIME"]

NO_PARAMETERS: Mapping[str, bytes] = MappingProxyType({})
NOT_FORWARDED: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Envelope:
    """What MAIL, and the commands before it, said about the transaction."""

    sender: Address | None  # None: the null sender <>, of bounces
    sender_path: bytes  # as issued, without "<" and ">"
    size: int | None  # SIZE=, in wire octets; None: not told
    body: BodyType
    smtputf8: bool
    helo: str  # what the client calls itself in LHLO
    tls: bool
    forwarded: Mapping[str, str]  # XFORWARD: upper-case names, printable values, only what is known
    parameters: Mapping[str, bytes]  # AUTH, tolerated without having been offered; RET; ENVID, in xtext


@dataclass(frozen=True, slots=True)
class TransactionStarted:
    """MAIL was accepted."""

    envelope: Envelope


@dataclass(frozen=True, slots=True)
class RecipientOffered:
    """RCPT names a recipient.  Needs answer(): a 2xx accepts."""

    address: Address
    path: bytes  # as issued, without "<" and ">"
    parameters: Mapping[str, bytes]  # ORCPT, as issued: not decoded; NOTIFY, in upper case


@dataclass(frozen=True, slots=True)
class BodyOffered:
    """The body is about to come, for at least one recipient.  Needs answer(): 354 accepts, all else refuses.

    After DATA a refusal leaves the transaction open.  After BDAT the body comes whether we want it or not: it
    is thrown away, and after its last chunk BodyEnded carries the refusal.
    """


@dataclass(frozen=True, slots=True)
class BodyChunk:
    """The next bytes of the body as sent: CRLF kept, dots un-stuffed."""

    data: bytes


@dataclass(frozen=True, slots=True)
class BodyEnded:
    """The body is complete.  Needs answer() once for each accepted recipient: Session.owed times.

    refusal: the body was refused on the way and is incomplete; every answer must be this reply.
    """

    refusal: Reply | None


@dataclass(frozen=True, slots=True)
class TransactionDropped:
    """RSET, LHLO or STARTTLS was accepted, or a message ended for which nobody waits.

    Also when no transaction was open: that the client goes on shows that it read the replies before.
    """


@dataclass(frozen=True, slots=True)
class TlsRequested:
    """STARTTLS was accepted: send the output, shake hands, then Session.tls_started(), or close."""


@dataclass(frozen=True, slots=True)
class Closed:
    """The session is over: send the output and close."""


Event = (
    TransactionStarted
    | RecipientOffered
    | BodyOffered
    | BodyChunk
    | BodyEnded
    | TransactionDropped
    | TlsRequested
    | Closed
)
