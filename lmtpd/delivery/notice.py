"""The notice "delivered" (RFC 3461 6.2, RFC 3464, RFC 6522): from facts to a message. Pure, but for an id.

Written are ASCII characters only, but for the address in To where it has others: what cannot be said in ASCII
is encoded as RFC 6533 3 has it for such addresses.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from email.encoders import encode_quopri
from email.message import Message
from email.mime.base import MIMEBase
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from email.policy import SMTP, SMTPUTF8
from email.utils import formatdate, make_msgid

from lmtpd.delivery.headers import original_recipient

# Of the message's header that goes back to its sender.
HEADER_OCTETS = 16 * 1024
# RFC 5322 2.1.1, without CRLF.
_LINE_OCTETS = 998

_NO_TEXT = re.compile(rb"[\r\0]")
_NOT_PLAIN = re.compile(r"[^\x21-\x7e]|\\")


@dataclass(frozen=True, slots=True)
class Told:
    """A recipient that the notice is about."""

    path: str  # as issued, without brackets
    orcpt: bytes = b""  # as issued; empty if there was none


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a notice says."""

    hostname: str  # ours
    sender: str  # of the message, who gets the notice; without brackets
    envelope_id: str  # ENVID, decoded; "" if there was none
    transaction_id: str
    header: bytes  # of the message, as on disk
    at: float  # when it was delivered, in seconds since 1970


def delivered_notice(facts: Facts, recipients: Sequence[Told]) -> bytes:
    """Write the notice that facts' message is in the mailboxes of recipients; CRLF line ends."""
    policy = SMTP if facts.sender.isascii() else SMTPUTF8
    notice = MIMEMultipart("report", policy=policy)
    notice.set_param("report-type", "delivery-status")
    notice["From"] = f"Mail Delivery System <MAILER-DAEMON@{facts.hostname}>"
    notice["To"] = f"<{facts.sender}>"
    notice["Subject"] = "Delivery report: delivered"
    notice["Date"] = formatdate(facts.at, localtime=True)
    notice["Message-ID"] = make_msgid(domain=facts.hostname)
    notice["Auto-Submitted"] = "auto-replied"
    notice.attach(_for_people(facts, recipients))
    notice.attach(_for_programs(facts, recipients))
    notice.attach(_returned(facts.header))
    return notice.as_bytes(policy=policy)


def _for_people(facts: Facts, recipients: Sequence[Told]) -> MIMEText:
    lines = [f"    <{_ascii(told.path)}>{_sent_to(told)}" for told in recipients]
    return MIMEText(
        f"This is the mail system at {facts.hostname}.\n\n"
        "You asked to be told when your message is delivered. It is now in the mailbox of\n\n"
        + "\n".join(lines)
        + f"\n\nIt is known here as {facts.transaction_id}. Whether it is read is not known here.\n",
        "plain",
        "us-ascii",
        policy=SMTP,
    )


def _for_programs(facts: Facts, recipients: Sequence[Told]) -> MIMEBase:
    """RFC 3464 2: one block of fields for the message, one for each recipient."""
    about = _fields(("Reporting-MTA", f"dns; {facts.hostname}"))
    if facts.envelope_id:
        about["Original-Envelope-Id"] = facts.envelope_id
    about["Arrival-Date"] = formatdate(facts.at, localtime=True)
    blocks: list[Message | str] = [about]
    for told in recipients:
        block = Message(policy=SMTP)
        if told.orcpt:
            block["Original-Recipient"] = _original(told.orcpt)
        block["Final-Recipient"] = _typed(told.path)
        block["Action"] = "delivered"
        block["Status"] = "2.0.0"
        blocks.append(block)
    part = MIMEBase("message", "delivery-status", policy=SMTP)
    part.set_payload(blocks)
    return part


def _returned(header: bytes) -> MIMEBase:
    """RFC 3461 4.3: of a message that was delivered the header goes back, whatever RET says."""
    if len(header) > HEADER_OCTETS:
        header = header[: header.rfind(b"\n", 0, HEADER_OCTETS) + 1]
    header = _NO_TEXT.sub(b"?", header.replace(b"\r\n", b"\n"))
    part = MIMEBase("text", "rfc822-headers", policy=SMTP)
    part.set_payload(header.decode("ascii", "surrogateescape"))
    if not header.isascii() or any(len(line) > _LINE_OCTETS for line in header.split(b"\n")):
        encode_quopri(part)  # RFC 6522 4
    return part


def _fields(*fields: tuple[str, str]) -> Message:
    block = Message(policy=SMTP)
    for name, value in fields:
        block[name] = value
    return block


def _typed(address: str) -> str:
    """Write an address with its type (RFC 3464 2.1.2, RFC 6533 3)."""
    return f"rfc822; {address}" if address.isascii() else f"utf-8; {_ascii(address)}"


def _original(orcpt: bytes) -> str:
    kind, _, encoded = orcpt.partition(b";")
    address = original_recipient(orcpt) or encoded.decode("ascii", "replace")
    return _typed(address) if kind.lower() in (b"rfc822", b"utf-8") else f"{kind.decode('ascii')}; {address}"


def _sent_to(told: Told) -> str:
    original = original_recipient(told.orcpt)
    return f" (sent to <{_ascii(original)}>)" if original and original != told.path else ""


def _ascii(address: str) -> str:
    """Write an address as utf-8-addr-xtext (RFC 6533 3) if it is not ASCII."""
    if address.isascii():
        return address
    return _NOT_PLAIN.sub(lambda found: f"\\x{{{ord(found[0]):02X}}}", address)
