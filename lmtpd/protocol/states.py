"""Which command may follow which: the order of RFC 5321 4.1.4, as changed by RFC 2033 4, in a table."""

from enum import Enum

from lmtpd.protocol import replies
from lmtpd.protocol.replies import Reply


class State(Enum):
    """Where the client is."""

    FRESH = "connected, or TLS has just begun"
    IDLE = "LHLO was accepted, no transaction is open"
    TURNED_AWAY = "as IDLE, but its MAIL was refused: a pipelined rest of that transaction may follow"
    SENDER = "MAIL was accepted, no recipient yet"
    RECIPIENTS = "at least one RCPT was accepted"
    BODY = "the body has begun; also between the chunks of BDAT"
    OWING = "the body has ended, a reply is owed for each recipient"
    SECURING = "STARTTLS was accepted, the handshake is under way"
    CLOSED = "nothing is read any more"

    __hash__ = object.__hash__  # Enum's own is Python code, and would run for every command


# Members by themselves: reading an attribute of an Enum is slow, too.
FRESH, IDLE, TURNED_AWAY, SENDER, RECIPIENTS, BODY, OWING, SECURING, CLOSED = State

# What a client may say in each state, and where it leads if the command is accepted.  Any other known verb is
# answered 503 (RFC 5321 4.1.4).  DATA is missing from SENDER because RFC 2033 4.2 wants 503 without a
# recipient, and from BODY because who has begun with chunks must go on with them (RFC 3030 2).
_ORDER: dict[State, dict[bytes, State]] = {
    FRESH: {b"LHLO": IDLE, b"RSET": FRESH},
    IDLE: {b"LHLO": IDLE, b"RSET": IDLE, b"XFORWARD": IDLE, b"STARTTLS": SECURING, b"MAIL": SENDER},
    TURNED_AWAY: {b"LHLO": IDLE, b"RSET": IDLE, b"XFORWARD": IDLE, b"STARTTLS": SECURING, b"MAIL": SENDER},
    SENDER: {b"LHLO": IDLE, b"RSET": IDLE, b"RCPT": RECIPIENTS},
    RECIPIENTS: {b"LHLO": IDLE, b"RSET": IDLE, b"RCPT": RECIPIENTS, b"DATA": BODY, b"BDAT": BODY},
    BODY: {b"LHLO": IDLE, b"RSET": IDLE, b"BDAT": BODY},
    OWING: {},
    SECURING: {},
    CLOSED: {},
}

# NOOP, VRFY, HELP and QUIT are allowed at any time (RFC 5321 4.1.4); the first three change nothing.
NEXT: dict[State, dict[bytes, State]] = {
    here: {**row, b"NOOP": here, b"VRFY": here, b"HELP": here, b"QUIT": CLOSED}
    for here, row in _ORDER.items()
}

VERBS = frozenset(verb for row in NEXT.values() for verb in row)

_OUT_OF_ORDER: dict[State, Reply] = {
    FRESH: replies.LHLO_FIRST,
    IDLE: replies.MAIL_FIRST,
    TURNED_AWAY: replies.MAIL_FIRST,
    SENDER: replies.TRANSACTION_OPEN,
    RECIPIENTS: replies.TRANSACTION_OPEN,
    BODY: replies.CHUNKS_OPEN,
}


def out_of_order(verb: bytes, state: State) -> Reply:
    """Return the refusal of a command that NEXT does not have for this state."""
    if verb not in VERBS:
        return replies.UNKNOWN_COMMAND if verb else replies.NO_COMMAND
    if state is SENDER and verb == b"DATA":
        return replies.NO_VALID_RECIPIENTS
    return _OUT_OF_ORDER[state]
