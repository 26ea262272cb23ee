"""Every reply this server can send, by name (RFC 5321 4.2; enhanced codes RFC 2034, RFC 3463).

Texts are generic: what exactly went wrong is the log's business.  A 5xx makes Postfix bounce, so a fault of
ours is always a 4xx.  Codes 500-509 and 555 also make it give up its cached connection and mail the dialogue
to the postmaster, so they are for faults of the client's program only.

The text below each reply is what the reference shows: the cause, and behind "Mend:" what to do.
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
    """Return the reply to LHLO: what we offer; octets is the limit of a message.

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
"""The client said HELP.  Mend: nothing."""
READY_FOR_TLS = Reply(220, "2.0.0", ("Ready to start TLS",))
"""The client said STARTTLS.  Mend: nothing."""
BYE = Reply(221, "2.0.0", ("Bye",))
"""The client said QUIT.  Mend: nothing."""
OK = Reply(250, "2.0.0", ("OK",))
"""RSET, NOOP or XFORWARD was accepted.  Mend: nothing."""
SENDER_OK = Reply(250, "2.1.0", ("Sender OK",))
"""The sender was accepted.  Mend: nothing."""
RECIPIENT_OK = Reply(250, "2.1.5", ("Recipient OK",))
"""The recipient was accepted; whether the message is delivered is said behind the dot.  Mend: nothing."""
CANNOT_VERIFY = Reply(252, "2.1.5", ("Send some mail, I will try",))
"""The client said VRFY, and who exists is told at RCPT only.  Mend: nothing; ask `lmtpd explain ADDRESS`."""
START_DATA = Reply(354, "", ("End data with <CRLF>.<CRLF>",))
"""The client said DATA.  Mend: nothing."""

# ---- the end of the session -------------------------------------------------------------------------------

SHUTTING_DOWN = Reply(421, "4.3.2", ("Shutting down, try again later",))
"""The server is being stopped or restarted.  Mend: nothing; the client sends again."""
OUT_OF_RESOURCES = Reply(421, "4.3.2", ("Out of resources, try again later",))
"""The worker has no descriptor or thread left.  Mend: raise LimitNOFILE or lower server.connections."""
IDLE_TOO_LONG = Reply(421, "4.4.2", ("Waited too long for you, closing",))
"""The client said nothing for limits.idle_s, or sent more slowly than limits.min_octets_per_s (`too_slow`).
Mend: nothing, unless your own client is meant to be so slow.
"""
TOO_MANY_BAD_COMMANDS = Reply(421, "4.7.0", ("Too many bad commands, closing",))
"""There were limits.bad_commands faulty commands in a row.  Mend: the client's program, or keep
strangers from the port.
"""

# ---- the client's program is at fault ---------------------------------------------------------------------

UNKNOWN_COMMAND = Reply(500, "5.5.1", ("Unknown command",))
"""No such command.  Mend: the client's program."""
SPEAK_LMTP = Reply(500, "5.5.1", ("This is LMTP: say LHLO",))
"""The client said HELO or EHLO: it speaks SMTP.  Mend: `lmtp:` instead of `smtp:` in Postfix's transport."""
NO_COMMAND = Reply(500, "5.5.2", ("No command in this line",))
"""A line does not begin with a word.  Mend: the client's program."""
LINE_TOO_LONG = Reply(500, "5.5.2", ("Line too long",))
"""A command is longer than 4096 octets.  Mend: the client's program."""
STRAY_BYTE = Reply(500, "5.5.2", ("Bare CR, bare LF or NUL in a command",))
"""A command holds a CR, LF or NUL of its own.  Mend: the client's program; it may be an attack."""
LHLO_SYNTAX = Reply(501, "5.5.4", ("Syntax: LHLO name",))
"""LHLO without a usable name.  Mend: the client's program."""
MAIL_SYNTAX = Reply(501, "5.5.4", ("Syntax: MAIL FROM:<address> parameters",))
"""MAIL that cannot be read.  Mend: the client's program."""
RCPT_SYNTAX = Reply(501, "5.5.4", ("Syntax: RCPT TO:<address> parameters",))
"""RCPT that cannot be read.  Mend: the client's program."""
BDAT_SYNTAX = Reply(501, "5.5.4", ("Syntax: BDAT octets [LAST]; closing, where the chunk ends is unknown",))
"""BDAT that cannot be read; the connection ends.  Mend: the client's program."""
VRFY_SYNTAX = Reply(501, "5.5.4", ("Syntax: VRFY address",))
"""VRFY without an address.  Mend: the client's program."""
XFORWARD_SYNTAX = Reply(
    501, "5.5.4", ("Syntax: XFORWARD attribute=value, known attributes, values in xtext",)
)
"""XFORWARD that cannot be read.  Mend: the client's program."""
NO_ARGUMENT_ALLOWED = Reply(501, "5.5.4", ("This command takes no argument",))
"""Something follows a command that stands alone.  Mend: the client's program."""
REPEATED_PARAMETER = Reply(501, "5.5.4", ("Parameter given twice",))
"""A parameter of MAIL or RCPT is there twice.  Mend: the client's program."""
BAD_PARAMETER = Reply(501, "5.5.4", ("Bad value of a parameter",))
"""A parameter of MAIL or RCPT has a value that it cannot have.  Mend: the client's program."""
NOT_IMPLEMENTED = Reply(502, "5.5.1", ("Not implemented",))
"""A command of the standard that this server has not.  Mend: the client's program."""
LHLO_FIRST = Reply(503, "5.5.1", ("Say LHLO first",))
"""A command that needs LHLO before it.  Mend: the client's program."""
MAIL_FIRST = Reply(503, "5.5.1", ("Need MAIL first",))
"""A command that needs MAIL before it.  Mend: the client's program."""
TRANSACTION_OPEN = Reply(503, "5.5.1", ("Not within a transaction",))
"""A command that may not stand within a transaction.  Mend: the client's program."""
NO_VALID_RECIPIENTS = Reply(503, "5.5.1", ("No valid recipients",))
"""DATA or BDAT, but every recipient was refused.  Mend: see the replies to RCPT."""
BINARY_NEEDS_BDAT = Reply(503, "5.5.1", ("BODY=BINARYMIME needs BDAT",))
"""DATA for a message that was announced as BODY=BINARYMIME.  Mend: the client's program."""
CHUNKS_OPEN = Reply(503, "5.5.1", ("Chunks have begun: send BDAT or RSET",))
"""Another command between the chunks of a message.  Mend: the client's program."""
CHUNKS_REFUSED = Reply(503, "5.5.1", ("Discarded: an earlier chunk was refused",))
"""A chunk behind one that was refused.  Mend: see the reply to the first."""
TLS_ACTIVE = Reply(503, "5.5.1", ("TLS is active",))
"""STARTTLS for the second time.  Mend: the client's program."""
UNKNOWN_PARAMETER = Reply(555, "5.5.4", ("Unknown parameter",))
"""A parameter of MAIL or RCPT that was not offered.  Mend: the client's program."""


def bad_sender(why: str) -> Reply:
    """Return the refusal of a malformed sender; why is the message of an AddressError."""
    return Reply(501, "5.1.7", (f"Bad sender: {why}",))


def bad_recipient(why: str) -> Reply:
    """Return the refusal of a malformed recipient; why is the message of an AddressError."""
    return Reply(501, "5.1.3", (f"Bad recipient: {why}",))


# ---- not allowed, or too much -----------------------------------------------------------------------------

TOO_MANY_RECIPIENTS = Reply(452, "4.5.3", ("Too many recipients",))  # the client sends the rest separately
"""More recipients than limits.recipients in one transaction.  Mend: nothing; the client sends the
others in the next.
"""
NOT_TRUSTED = Reply(550, "5.7.0", ("Not allowed",))
"""XFORWARD by a TCP client that server.xforward_from does not name.  Mend: enter its network there."""
TOO_LARGE = Reply(552, "5.3.4", ("Message too large",))
"""The message is larger than limits.message_octets (`too_large`).  Mend: raise it, or lower Postfix's
message_size_limit, so that it is refused before the queue.
"""
NEEDS_SMTPUTF8 = Reply(553, "5.6.7", ("Non-ASCII address needs SMTPUTF8",))
"""An address has letters outside ASCII, and MAIL had no SMTPUTF8.  Mend: `smtputf8_enable = yes` in
Postfix.
"""

# ---- a recipient or a message cannot be served: now ... ----------------------------------------------------

MAILBOX_BUSY = Reply(451, "4.2.1", ("Mailbox busy, try again later",))
"""Deliveries hang in the mailbox, whose disk or NFS server does not answer (`mailbox_busy`).  Mend: the
disk; limits.mailbox_concurrency.
"""
MAILBOX_UNAVAILABLE = Reply(451, "4.2.0", ("Mailbox unavailable for now",))
"""The Maildir is a file or a link, belongs to somebody else, or is read-only (`mailbox_unusable`).
Mend: `lmtpd explain ADDRESS` and `lmtpd doctor` say what is in the way.
"""
LOOKUP_FAILED = Reply(451, "4.3.0", ("Recipient cannot be looked up now",))
"""A recipient source is down, slow or has faulty data, or the mailboxes' file system is not mounted
(`lookup`).  Mend: see `detail` in the log, or `lmtpd explain ADDRESS`.
"""
LOCAL_ERROR = Reply(451, "4.3.0", ("Local error, not delivered",))
"""The system failed a call, such as an I/O error (`storage`), or there is a bug (`bug`).  Mend: see
`detail` in the log; report a bug with its traceback.
"""
LEDGER_UNAVAILABLE = Reply(451, "4.3.0", ("Deliveries cannot be recorded now, not delivered",))
"""The ledger is full, locked, read-only or damaged (`ledger`).  Mend: the log says which, and the
command that sets a damaged one aside.
"""
FILE_SYSTEM_FAULT = Reply(451, "4.3.0", ("Storage in trouble, try again later",))
"""A file system failed limits.file_system_faults times in a row and is left alone (`file_system`).
Mend: the file system; it is tried again by itself.
"""
IN_FLIGHT = Reply(451, "4.3.0", ("This message is being delivered by another connection",))
"""The same message is being delivered over another connection (`in_flight`).  Mend: nothing; the client
sends again.
"""
OVERLOADED = Reply(451, "4.3.2", ("Too busy, try again later",))
"""There are more connections than server.connections.  Mend: raise it, or lower Postfix's
lmtp_destination_concurrency_limit.
"""
CLIENT_GONE = Reply(451, "4.4.2", ("You had gone, not delivered",))
"""The client had gone before the message became visible (`client_gone`).  Mend: nothing, it sends
again; if often, see its timeouts.
"""
TOO_LATE = Reply(451, "4.4.7", ("Took too long, not delivered",))
"""The message was not stored within delivery.deadline_s (`too_late`).  Mend: the disk is too slow; see
the phases in `lmtpd trace`.
"""
CANCELLED = Reply(451, "4.5.0", ("Cancelled by RSET, not delivered",))
"""The client sent RSET behind the dot, with delivery.commit = "cancel" (`cancelled`).  Mend: nothing."""
TOO_MUCH_MAIL = Reply(451, "4.7.28", ("Too much mail for now, try again later",))
"""A rate of [limits] is used up (`sender_rate`, `client_rate`, `domain_rate`).  Mend: raise it, or stop
who sends so much.
"""
MAILBOX_FULL = Reply(452, "4.2.2", ("Mailbox full",))
"""The mailbox's quota (`quota`), or that of the file system (`mailbox_full`), is used up.  Mend: `lmtpd
explain ADDRESS` shows limit and use; delete or raise.
"""
NO_SPACE = Reply(452, "4.3.1", ("Insufficient system storage",))
"""The disk is full (`disk_full`), or less is free than limits.free_... ask for (`free_space`).  Mend:
make room.
"""

# ---- ... or ever ------------------------------------------------------------------------------------------

MAILBOX_UNKNOWN = Reply(550, "5.1.1", ("No such mailbox",))
"""No recipient source knows the address (`unknown`).  Mend: `lmtpd explain ADDRESS` shows what was asked."""
QUOTA_EXCEEDED = Reply(552, "5.2.2", ("Mailbox full",))
"""The mailbox's quota is used up, and quota.full says to refuse (`quota`).  Mend: `lmtpd explain
ADDRESS` shows limit and use; delete or raise.
"""
LOOPS = Reply(554, "5.4.6", ("This mail loops",))
"""The message's header has this mailbox in a Delivered-To, or too many Received fields (`loop`).  Mend:
the forwarding rules; for mail that migrates, delivery.loops = "deliver".
"""
