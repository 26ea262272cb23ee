"""What shall be done with a message for one recipient: data, not deeds.

A `Filter` looks at message and mailbox and decides; the transaction acts. Without a filter every
message is kept.
"""

from dataclasses import dataclass
from typing import Protocol

from lmtpd.delivery.message import Message
from lmtpd.delivery.outcomes import Cause, Refused
from lmtpd.recipients.mailbox import Mailbox

HOPS = 100  # Received fields; RFC 5321 6.3 asks for at least 100 before a loop is assumed


@dataclass(frozen=True, slots=True)
class Plan:
    """Where one recipient's copy goes, or why it goes nowhere."""

    folder: str | None = None  # None is the INBOX
    refusal: Refused | None = None


class Filter(Protocol):
    """Decides for one recipient. Must not change anything, and sees no other recipient."""

    def decide(self, message: Message, mailbox: Mailbox) -> Plan:
        """Return what shall be done; an exception defers this recipient alone."""


class Keep:
    """The plan of a site without filters: keep what is not looping."""

    def decide(self, message: Message, mailbox: Mailbox) -> Plan:
        """Keep message in the folder that the address names."""
        if message.hops > HOPS:
            return Plan(refusal=Refused(Cause.LOOP, f"{message.hops} Received fields"))
        return Plan(folder=mailbox.folder)
