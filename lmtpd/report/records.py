"""What is told: one `RecipientReport` for each recipient of each message, and the levels of rare events."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Literal

# dropped: the client gave up while it sent the message; nobody was answered
OutcomeWord = Literal["delivered", "recognised", "deferred", "refused", "dropped"]


class Level(IntEnum):
    """How much an event matters: the priorities of syslog(3), as the journal knows them."""

    ALERT = 1  # somebody must act now
    ERROR = 3
    WARNING = 4
    NOTICE = 5
    INFO = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipientReport:
    """What became of one message for one recipient.  See the table above; "" or None: not known."""

    at: float  # seconds since the epoch: the moment the outcome was final
    id: str
    recipient: str  # without the brackets, as are sender and original_recipient
    outcome: OutcomeWord
    reply: str  # its first line, without CRLF
    sender: str = ""
    queue_id: str = ""
    message_id: str = ""
    original_recipient: str = ""
    maildir: str = ""
    folder: str = ""
    file: str = ""
    octets: int | None = None
    cause: str = ""  # from a fixed vocabulary, never a peer's or the system's words
    detail: str = ""
    client: str = ""
    helo: str = ""
    tls: bool = False
    phases_ms: Mapping[str, float] = field(default_factory=dict)
    # For counting only, not for the log.
    is_last: bool = False  # of its message: what recipients share is counted once
    received: str = ""  # the date of the topmost Received field, as written
