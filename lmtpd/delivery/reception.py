"""What RCPT is answered, for LMTP and for whoever else asks the same: one answer for all.

A mailbox that there is not, or that is full, is best refused by Postfix itself, before it takes the mail.
"""

from dataclasses import dataclass, field
from typing import Protocol

from lmtpd.delivery.outcomes import Deferred, Refused, reply_of_cause
from lmtpd.protocol import replies
from lmtpd.protocol.addresses import Address
from lmtpd.protocol.replies import Reply
from lmtpd.recipients.mailbox import Mailbox, Mailboxes, Unavailable, Unknown
from lmtpd.recipients.owners import Recipients
from storage.errors import StorageError


class Refusals(Protocol):
    """The quotas, or who only looks at them."""

    def refusal(self, mailbox: Mailbox, octets: int) -> Deferred | Refused | None:
        """Tell why a message of this size (0: not known) does not fit; None: it does."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer to RCPT, and why."""

    mailbox: Mailbox | None  # None: not accepted
    reply: Reply
    cause: str = ""
    detail: str = ""
    error: StorageError | None = field(default=None, compare=False)  # of the disk, if the look-up's
    others: tuple[Mailbox, ...] = ()  # an alias's mailboxes behind the first


def answer_rcpt(directory: Recipients, quotas: Refusals | None, address: Address, *, octets: int) -> Answer:
    """Resolve address, and see whether a message of this size (0: not known) fits."""
    match directory.find(address):
        case Mailbox() as mailbox:
            refusal = None if quotas is None else quotas.refusal(mailbox, octets)
            if refusal is None:
                return Answer(mailbox, replies.RECIPIENT_OK)
            return _refused(refusal)
        case Mailboxes(_, mailboxes):
            return _of_alias(mailboxes, quotas, octets=octets)
        case Unknown(reason):
            return Answer(None, replies.MAILBOX_UNKNOWN, "unknown", reason)
        case Unavailable(reason, error):
            return Answer(None, replies.LOOKUP_FAILED, "lookup", reason, error)


def _of_alias(mailboxes: tuple[Mailbox, ...], quotas: Refusals | None, *, octets: int) -> Answer:
    """One answer for all: what stands against one of the mailboxes stands against the alias."""
    for mailbox in mailboxes:
        if quotas is not None and (refusal := quotas.refusal(mailbox, octets)) is not None:
            return _refused(refusal)
    return Answer(mailboxes[0], replies.RECIPIENT_OK, others=mailboxes[1:])


def _refused(refusal: Deferred | Refused) -> Answer:
    return Answer(None, reply_of_cause(refusal), refusal.cause.value, refusal.detail)
