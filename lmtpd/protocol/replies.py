"""Every reply this server can send, by name (RFC 5321 4.2; enhanced codes RFC 2034, RFC 3463).

Texts are generic: what exactly went wrong is the log's business.  A 5xx makes Postfix bounce, so a fault of
ours is always a 4xx.  Codes 500-509 and 555 also make it give up its cached connection and mail the dialogue
to the postmaster, so they are for faults of the client's program only.
"""

from dataclasses import dataclass, field

LINE_OCTETS = 512  # of a reply line with its CRLF (RFC 5321 4.5.3.1.5); longer texts are cut
ADDRESS_CHARACTERS = (
    256  # of an address in a reply: a path's limit (RFC 5321 4.5.3.1.3), leaves room for the id
)


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply: its code, its enhanced status ("" for the few that have none) and one line of text or more."""

    code: int
    status: str
    lines: tuple[str, ...]
    _encoded: bytes = field(default=b"", init=False, repr=False, compare=False)

    def encode(self) -> bytes:
        """Return the bytes for the wire.  Nothing but printable ASCII gets out, whatever the lines hold."""
        if not self._encoded:
            object.__setattr__(self, "_encoded", self._encode())
        return self._encoded

    @property
    def accepted(self) -> bool:
        """Whether it says yes (2xx), or go on (3xx)."""
        return self.code < 400

    @property
    def temporary(self) -> bool:
        """Whether it asks the client to try again later."""
        return 400 <= self.code < 500

    def _encode(self) -> bytes:
        status = f"{self.status} " if self.status else ""
        *others, last = self.lines
        lines = [f"{self.code}-{status}{text}" for text in others]
        lines.append(f"{self.code} {status}{last}")
        return b"".join(map(_encode_line, lines))


def _encode_line(text: str) -> bytes:
    if not text.isprintable():
        text = "".join(character if character.isprintable() else "?" for character in text)
    return text.encode("ascii", "backslashreplace")[: LINE_OCTETS - 2] + b"\r\n"


# ---- accepted ---------------------------------------------------------------------------------------------


def greeting(hostname: str) -> Reply:
    """Return the first line of a connection."""
    return Reply(220, "", (f"{hostname} LMTP",))


def hello(hostname: str, *, octets: int, starttls: bool, xforward: bool, dsn: bool = False) -> Reply:
    """Return the reply to LHLO: what we offer.  octets is the limit of a message.

    dsn: we offer it only where we can send the "delivered" notices that Postfix then leaves to us.
    """
    lines = [
        hostname,
        "PIPELINING",
        "ENHANCEDSTATUSCODES",
        "8BITMIME",
        "BINARYMIME",
        "CHUNKING",
        f"SIZE {octets}",
        "SMTPUTF8",
    ]
    if dsn:
        lines.append("DSN")
    if starttls:
        lines.append("STARTTLS")
    if xforward:
        lines.append("XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE")
    return Reply(250, "", tuple(lines))


def chunk_received(octets: int) -> Reply:
    """Return the reply to a chunk that was not the last (RFC 3030 2)."""
    return Reply(250, "2.0.0", (f"{octets} octets received",))


def delivered(address: str, transaction_id: str) -> Reply:
    """Return the promise: one complete copy is in this recipient's mailbox and survives a power cut."""
    return Reply(250, "2.0.0", (f"<{address[:ADDRESS_CHARACTERS]}> Saved {transaction_id}",))


HELP = Reply(214, "2.0.0", ("LHLO MAIL RCPT DATA BDAT RSET NOOP VRFY HELP QUIT: see RFC 2033, RFC 5321",))
READY_FOR_TLS = Reply(220, "2.0.0", ("Ready to start TLS",))
BYE = Reply(221, "2.0.0", ("Bye",))
OK = Reply(250, "2.0.0", ("OK",))
SENDER_OK = Reply(250, "2.1.0", ("Sender OK",))
RECIPIENT_OK = Reply(250, "2.1.5", ("Recipient OK",))
CANNOT_VERIFY = Reply(252, "2.1.5", ("Send some mail, I will try",))
START_DATA = Reply(354, "", ("End data with <CRLF>.<CRLF>",))

# ---- the end of the session -------------------------------------------------------------------------------

SHUTTING_DOWN = Reply(421, "4.3.2", ("Shutting down, try again later",))
OUT_OF_RESOURCES = Reply(421, "4.3.2", ("Out of resources, try again later",))
IDLE_TOO_LONG = Reply(421, "4.4.2", ("Waited too long for you, closing",))
TOO_MANY_BAD_COMMANDS = Reply(421, "4.7.0", ("Too many bad commands, closing",))

# ---- the client's program is at fault ---------------------------------------------------------------------

UNKNOWN_COMMAND = Reply(500, "5.5.1", ("Unknown command",))
SPEAK_LMTP = Reply(500, "5.5.1", ("This is LMTP: say LHLO",))
NO_COMMAND = Reply(500, "5.5.2", ("No command in this line",))
LINE_TOO_LONG = Reply(500, "5.5.2", ("Line too long",))
STRAY_BYTE = Reply(500, "5.5.2", ("Bare CR, bare LF or NUL in a command",))
LHLO_SYNTAX = Reply(501, "5.5.4", ("Syntax: LHLO name",))
MAIL_SYNTAX = Reply(501, "5.5.4", ("Syntax: MAIL FROM:<address> parameters",))
RCPT_SYNTAX = Reply(501, "5.5.4", ("Syntax: RCPT TO:<address> parameters",))
BDAT_SYNTAX = Reply(501, "5.5.4", ("Syntax: BDAT octets [LAST]; closing, where the chunk ends is unknown",))
VRFY_SYNTAX = Reply(501, "5.5.4", ("Syntax: VRFY address",))
XFORWARD_SYNTAX = Reply(
    501, "5.5.4", ("Syntax: XFORWARD attribute=value, known attributes, values in xtext",)
)
NO_ARGUMENT_ALLOWED = Reply(501, "5.5.4", ("This command takes no argument",))
REPEATED_PARAMETER = Reply(501, "5.5.4", ("Parameter given twice",))
BAD_PARAMETER = Reply(501, "5.5.4", ("Bad value of a parameter",))
NOT_IMPLEMENTED = Reply(502, "5.5.1", ("Not implemented",))
LHLO_FIRST = Reply(503, "5.5.1", ("Say LHLO first",))
MAIL_FIRST = Reply(503, "5.5.1", ("Need MAIL first",))
TRANSACTION_OPEN = Reply(503, "5.5.1", ("Not within a transaction",))
NO_VALID_RECIPIENTS = Reply(503, "5.5.1", ("No valid recipients",))
BINARY_NEEDS_BDAT = Reply(503, "5.5.1", ("BODY=BINARYMIME needs BDAT",))
CHUNKS_OPEN = Reply(503, "5.5.1", ("Chunks have begun: send BDAT or RSET",))
CHUNKS_REFUSED = Reply(503, "5.5.1", ("Discarded: an earlier chunk was refused",))
TLS_ACTIVE = Reply(503, "5.5.1", ("TLS is active",))
UNKNOWN_PARAMETER = Reply(555, "5.5.4", ("Unknown parameter",))


def bad_sender(why: str) -> Reply:
    """Return the refusal of a malformed sender; why is the message of an AddressError."""
    return Reply(501, "5.1.7", (f"Bad sender: {why}",))


def bad_recipient(why: str) -> Reply:
    """Return the refusal of a malformed recipient; why is the message of an AddressError."""
    return Reply(501, "5.1.3", (f"Bad recipient: {why}",))


# ---- not allowed, or too much -----------------------------------------------------------------------------

TOO_MANY_RECIPIENTS = Reply(452, "4.5.3", ("Too many recipients",))  # the client sends the rest separately
NOT_TRUSTED = Reply(550, "5.7.0", ("Not allowed",))
TOO_LARGE = Reply(552, "5.3.4", ("Message too large",))
NEEDS_SMTPUTF8 = Reply(553, "5.6.7", ("Non-ASCII address needs SMTPUTF8",))

# ---- a recipient or a message cannot be served: now ... ----------------------------------------------------

MAILBOX_BUSY = Reply(451, "4.2.1", ("Mailbox busy, try again later",))
MAILBOX_UNAVAILABLE = Reply(451, "4.2.0", ("Mailbox unavailable for now",))
LOOKUP_FAILED = Reply(451, "4.3.0", ("Recipient cannot be looked up now",))
LOCAL_ERROR = Reply(451, "4.3.0", ("Local error, not delivered",))
LEDGER_UNAVAILABLE = Reply(451, "4.3.0", ("Deliveries cannot be recorded now, not delivered",))
FILE_SYSTEM_FAULT = Reply(451, "4.3.0", ("Storage in trouble, try again later",))
IN_FLIGHT = Reply(451, "4.3.0", ("This message is being delivered by another connection",))
OVERLOADED = Reply(451, "4.3.2", ("Too busy, try again later",))
CLIENT_GONE = Reply(451, "4.4.2", ("You had gone, not delivered",))
TOO_LATE = Reply(451, "4.4.7", ("Took too long, not delivered",))
CANCELLED = Reply(451, "4.5.0", ("Cancelled by RSET, not delivered",))
TOO_MUCH_MAIL = Reply(451, "4.7.28", ("Too much mail for now, try again later",))
MAILBOX_FULL = Reply(452, "4.2.2", ("Mailbox full",))
NO_SPACE = Reply(452, "4.3.1", ("Insufficient system storage",))

# ---- ... or ever ------------------------------------------------------------------------------------------

MAILBOX_UNKNOWN = Reply(550, "5.1.1", ("No such mailbox",))
QUOTA_EXCEEDED = Reply(552, "5.2.2", ("Mailbox full",))
LOOPS = Reply(554, "5.4.6", ("This mail loops",))
