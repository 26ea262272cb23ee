"""What became of one recipient's copy, and the reply that says so.

The rule of this file: it holds the only table from causes to replies. Whatever is our own fault or
the world's is 4xx, since Postfix bounces on 5xx (RFC 5321 4.2.1); only what we are sure of is final.
"""

from dataclasses import dataclass, field
from enum import Enum

from lmtpd.protocol import replies
from lmtpd.protocol.replies import Reply
from storage.errors import (
    DiskFull,
    MailboxFull,
    MailboxMissing,
    MailboxUnusable,
    OutOfDescriptors,
    StorageError,
    is_of_file_system,
)


class Cause(Enum):
    """Why a copy was not delivered. The value is the word that log and metrics use."""

    STORAGE = "storage"
    DISK_FULL = "disk_full"
    MAILBOX_FULL = "mailbox_full"
    QUOTA = "quota"
    MAILBOX_UNUSABLE = "mailbox_unusable"
    LEDGER = "ledger"
    IN_FLIGHT = "in_flight"
    CLIENT_GONE = "client_gone"
    CANCELLED = "cancelled"
    TOO_LATE = "too_late"
    TOO_SLOW = "too_slow"
    BUG = "bug"
    TOO_LARGE = "too_large"
    LOOP = "loop"


@dataclass(frozen=True, slots=True)
class Delivered:
    """The copy is in the mailbox, durable as configured; recognised: it was there from an earlier attempt."""

    file: str
    recognised: bool = False


@dataclass(frozen=True, slots=True)
class Deferred:
    """Nothing is promised to be in the mailbox; the client keeps the message (4xx)."""

    cause: Cause
    detail: str = ""
    of_file_system: bool = field(default=False, compare=False)  # not of this mailbox alone


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing is in the mailbox and trying again will not help (5xx)."""

    cause: Cause
    detail: str = ""


Outcome = Delivered | Deferred | Refused

_REPLIES: dict[Cause, Reply] = {
    Cause.STORAGE: replies.LOCAL_ERROR,
    Cause.DISK_FULL: replies.NO_SPACE,
    Cause.MAILBOX_FULL: replies.MAILBOX_FULL,
    Cause.QUOTA: replies.MAILBOX_FULL,
    Cause.MAILBOX_UNUSABLE: replies.MAILBOX_UNAVAILABLE,
    Cause.LEDGER: replies.LEDGER_UNAVAILABLE,
    Cause.IN_FLIGHT: replies.IN_FLIGHT,
    Cause.CLIENT_GONE: replies.CLIENT_GONE,
    Cause.CANCELLED: replies.CANCELLED,
    Cause.TOO_LATE: replies.TOO_LATE,
    Cause.TOO_SLOW: replies.IDLE_TOO_LONG,
    Cause.BUG: replies.LOCAL_ERROR,
    Cause.TOO_LARGE: replies.TOO_LARGE,
    Cause.LOOP: replies.LOOPS,
}

# What may be final or not, by setting.
_FINAL: dict[Cause, Reply] = {Cause.QUOTA: replies.QUOTA_EXCEEDED}

_CAUSES: tuple[tuple[type[StorageError], Cause], ...] = (
    (MailboxFull, Cause.MAILBOX_FULL),
    (DiskFull, Cause.DISK_FULL),
    (MailboxUnusable, Cause.MAILBOX_UNUSABLE),
    (MailboxMissing, Cause.MAILBOX_UNUSABLE),
    (OutOfDescriptors, Cause.STORAGE),
)


def deferred_by(error: StorageError) -> Deferred:
    """Name the outcome behind a storage error: always temporary, the disk may be mended."""
    cause = next((cause for kind, cause in _CAUSES if isinstance(error, kind)), Cause.STORAGE)
    return Deferred(cause, str(error), of_file_system=is_of_file_system(error))


def refused_by(refusal: Reply) -> Deferred | Refused:
    """Name the outcome behind a reply with which the session refused the whole message."""
    if refusal.temporary:
        return Deferred(Cause.STORAGE)
    return Refused(Cause.TOO_LARGE)


def reply_for(outcome: Outcome, *, address: str, transaction_id: str) -> Reply:
    """The reply that tells the client outcome (RFC 2033 4.2: one for each recipient)."""
    match outcome:
        case Delivered():
            return replies.delivered(address, transaction_id)
        case Deferred() | Refused():
            return reply_of_cause(outcome)


def reply_of_cause(outcome: Deferred | Refused) -> Reply:
    """The reply that says why nothing was delivered."""
    if isinstance(outcome, Refused) and outcome.cause in _FINAL:
        return _FINAL[outcome.cause]
    return _REPLIES[outcome.cause]
