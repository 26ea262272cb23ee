"""What an address resolves to.

A source answers with one of three values and never raises for what the world does: `Mailbox`,
`Unknown` (we are sure: 550) or `Unavailable` (we are not sure: 451).
"""

from dataclasses import dataclass

from storage.folders import Layout
from storage.maildir import MaildirPath


@dataclass(frozen=True, slots=True)
class Mailbox:
    """One recipient's mailbox and the folder that the address asks for."""

    user: str  # folded, without the detail
    address: str  # what Delivered-To says: user[+detail]@domain, RFC 5321 form
    maildir: MaildirPath  # the INBOX
    layout: Layout
    folder: str | None  # "A/B" below the INBOX; None is the INBOX itself
    create: bool  # a missing Maildir is made
    create_folder: bool  # a missing folder is made, else the INBOX serves


@dataclass(frozen=True, slots=True)
class Unknown:
    """There is no such mailbox, and we are sure of it."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unavailable:
    """The question could not be answered now; the sender shall ask again later."""

    reason: str


Resolved = Mailbox | Unknown | Unavailable


@dataclass(frozen=True, slots=True)
class Step:
    """One look-up and what came of it, for `lmtpd explain`."""

    question: str
    answer: str
