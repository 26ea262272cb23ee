"""What is told: one `RecipientReport` for each recipient of each message, and the levels of rare events.

The fields of a log line, in its order.  A field without a value is left out of the line.

| field | example | meaning |
|---|---|---|
| (first word) | `delivered` | delivered, recognised, deferred, refused, dropped; or an event's name |
| `queue_id` | `4XyZ12abc` | Postfix's, from XFORWARD IDENT or the topmost Received line |
| `id` | `1f3a77c0000012` | the transaction here; also in Received, and in the reply 250 |
| `message_id` | `<a@example.org>` | the Message-ID header |
| `from` | `<a@example.org>` | the envelope sender; `<>` is the null sender |
| `to` | `<b@example.net>` | the recipient as the client wrote it |
| `orig_to` | `<info@example.net>` | the recipient before the client's rewriting, where it told |
| `maildir` | `/srv/mail/example.net/b` | the mailbox that the address resolved to |
| `folder` | `Lists/python` | the folder below it; absent: the inbox |
| `file` | `1764000000.M1P2Q3R4.mx,S=1,W=1` | the name in new/ |
| `octets` | `3071` | of the message as received, without the headers added here |
| `reply` | `"250 2.0.0 <b@example.net> ..."` | what the client was answered |
| `cause` | `disk_full` | why not delivered, a word for counting |
| `detail` | `"[Errno 28] No space left ..."` | the same, exactly |
| `client` | `unix`, `192.0.2.7:4711` | the peer |
| `helo` | `mx.example.org` | what it called itself in LHLO |
| `tls` | `true` | the connection is encrypted |
| `PHASE_ms` | `sync_ms=0.42` | how long a phase took: see `metrics.PHASES` |

An event has `level` (alert, error, warning, notice, info) and fields of its own.
"""

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
