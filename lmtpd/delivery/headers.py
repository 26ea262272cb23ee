"""The header fields a delivery puts on top, and the few it looks for in the message.

Reading is bounded to the header's first `HEADER_OCTETS`; a header that cannot be parsed never stops
a delivery, it is only not understood. Written: Return-Path (RFC 5321 4.4), Delivered-To,
X-Original-To, Received (RFC 5321 4.4, with RFC 3848 and 6531 protocol names).
"""

import re
import time
from dataclasses import dataclass

from lmtpd.protocol.commands import decode_xtext
from lmtpd.protocol.events import Envelope

HEADER_OCTETS = 128 * 1024  # of the message's top; Postfix's own header_size_limit is 102,400

_RETURN_PATH = re.compile(rb"^return-path[ \t]*:[^\n]*\n(?:[ \t][^\n]*\n)*", re.IGNORECASE | re.MULTILINE)
_MESSAGE_ID = re.compile(rb"^message-id[ \t]*:\s*([^\r\n]*)", re.IGNORECASE | re.MULTILINE)
_RECEIVED = re.compile(rb"^received[ \t]*:((?:[^\n]*\n[ \t])*[^\n]*)", re.IGNORECASE | re.MULTILINE)
_DELIVERED_TO = re.compile(rb"^delivered-to[ \t]*:([^\r\n]*)", re.IGNORECASE | re.MULTILINE)
_CODE_POINT = re.compile(r"\\x\{([0-9A-Fa-f]{2,6})\}")
_QUEUE_ID = re.compile(rb"\sid\s+([A-Za-z0-9]{1,64})\b")
_HELO = re.compile(r"[A-Za-z0-9._:\[\]-]{1,255}")
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def header_end(top: bytes) -> int:
    """Length of the header in top, which is the message's first octets: up to the first empty line.

    All of top when no empty line is found. Works for LF and CRLF line ends.
    """
    if top.startswith((b"\n", b"\r\n")):
        return 0
    ends = [end + 1 for end in (top.find(b"\n\n"), top.find(b"\n\r\n")) if end >= 0]
    return min(ends, default=len(top))


def without_return_path(top: bytes) -> bytes:
    """Drop Return-Path fields from the header in top (RFC 5321 4.4: only the final delivery has one)."""
    end = header_end(top)
    if b"return-path" not in top[:end].lower():
        return top
    return _RETURN_PATH.sub(b"", top[:end]) + top[end:]


def message_id_of(header: bytes) -> str:
    """The Message-ID as written, or "" when there is none; printable, at most 998 characters."""
    found = _MESSAGE_ID.search(header)
    return _printable(found.group(1)) if found else ""


def topmost_received(header: bytes) -> bytes:
    """The value of the topmost Received field, which the handing-over Postfix wrote; empty if none."""
    received = _RECEIVED.search(header)
    return received.group(1) if received is not None else b""


def queue_id_of(received: bytes) -> str:
    """The queue id in a Received field; "" if none."""
    found = _QUEUE_ID.search(received)
    return found.group(1).decode("ascii") if found is not None else ""


def date_of(received: bytes) -> str:
    """The date in a Received field, as written: what stands behind the last semicolon; "" if none."""
    _, semicolon, date = received.rpartition(b";")
    return date[:100].decode("ascii", "replace").strip() if semicolon else ""


def hops_of(header: bytes) -> int:
    """Number of Received fields, the measure of a mail loop (RFC 5321 6.3)."""
    lowered = header.lower()
    return lowered.count(b"\nreceived:") + lowered.startswith(b"received:")


def original_recipient(orcpt: bytes) -> str:
    """The address in an ORCPT parameter (RFC 3461 4.2, RFC 6533), or "" if there is none to be read."""
    kind, semicolon, encoded = orcpt.partition(b";")
    if not semicolon or kind.lower() not in (b"rfc822", b"utf-8"):
        return ""
    try:
        if kind.lower() == b"utf-8":
            return _decode_unitext(encoded.decode("utf-8"))
        return decode_xtext(encoded)
    except ValueError:
        return ""


def delivered_to_of(header: bytes) -> frozenset[str]:
    """The addresses in Delivered-To fields: the mailboxes that the message has been in."""
    return frozenset(map(_folded_domain, map(_printable, _DELIVERED_TO.findall(header))))


def _folded_domain(address: str) -> str:
    local, at, domain = address.removeprefix("<").removesuffix(">").rpartition("@")
    return local + at + domain.lower()


def _decode_unitext(text: str) -> str:
    """Undo "\\x{HEX}" (RFC 6533 3); ValueError for what is no character, or not printable."""
    decoded = _CODE_POINT.sub(lambda found: chr(int(found[1], 16)), text)
    if not decoded.isprintable():
        raise ValueError("not printable")
    return decoded


def _printable(raw: bytes) -> str:
    text = raw.decode("utf-8", "replace").strip()
    return "".join(char if char.isprintable() else "?" for char in text[:998])


@dataclass(frozen=True, slots=True)
class Trace:
    """What all recipients of one transaction share in the fields that we add."""

    sender: str  # without angle brackets; "" is the null reverse-path
    source: str  # the Received field's "from" clause
    hostname: str
    protocol: str  # LMTP | LMTPS | UTF8LMTP | UTF8LMTPS
    transaction_id: str
    date: str

    @classmethod
    def of(cls, envelope: Envelope, address: str, hostname: str, *, transaction: str, date: str) -> "Trace":
        """Take from the envelope what it tells. address: of a TCP peer, else empty."""
        return cls(
            sender=str(envelope.sender) if envelope.sender is not None else "",
            source=source_clause(envelope.helo, address),
            hostname=hostname,
            protocol=protocol_name(tls=envelope.tls, smtputf8=envelope.smtputf8),
            transaction_id=transaction,
            date=date,
        )

    def fields(self, address: str, original: str = "", *, blanks: int = 0) -> bytes:
        """The fields on top of one recipient's copy, LF line ends, in UTF-8 (RFC 6532).

        blanks: how many more octets they shall have; it is white space that means nothing.
        """
        also = f"X-Original-To: {original}\n" if original else ""
        return (
            f"Return-Path: <{self.sender}>\n"
            f"Delivered-To: {address}\n"
            f"{also}"
            f"Received: from {self.source}\n"
            f"\tby {self.hostname} with {self.protocol} id {self.transaction_id}\n"
            f"\tfor <{address}>; {' ' * blanks}{self.date}\n"
        ).encode()

    def common_fields(self) -> bytes:
        """The fields on top of a copy that several recipients share: nothing that names one of them."""
        return (
            f"Return-Path: <{self.sender}>\n"
            f"Received: from {self.source}\n"
            f"\tby {self.hostname} with {self.protocol} id {self.transaction_id};\n"
            f"\t{self.date}\n"
        ).encode()


def source_clause(helo: str, address: str) -> str:
    """The "from" clause: what the client called itself, and its address where there is one."""
    name = helo if _HELO.fullmatch(helo) else "unknown"
    if not address:
        return name
    literal = f"IPv6:{address}" if ":" in address else address
    return f"{name} ([{literal}])"


def protocol_name(*, tls: bool, smtputf8: bool) -> str:
    """The word after "with" (RFC 3848, RFC 6531 4.3)."""
    return f"{'UTF8' if smtputf8 else ''}LMTP{'S' if tls else ''}"


class DateClock:
    """Header dates (RFC 5322 3.3) in local time, made once a second."""

    def __init__(self) -> None:
        self._last: tuple[int, str] = (0, "")

    def __call__(self) -> str:
        """The date now. Any thread may ask."""
        now = int(time.time())
        second, text = self._last
        if second != now:
            text = _date(now)
            # One assignment: other threads see the old pair or the new one, never a mixture.
            self._last = (now, text)
        return text


def _date(now: int) -> str:
    # strftime would follow the locale, and header dates are English.
    local = time.localtime(now)
    offset = local.tm_gmtoff // 60
    sign = "-" if offset < 0 else "+"
    hours, minutes = divmod(abs(offset), 60)
    return (
        f"{_DAYS[local.tm_wday]}, {local.tm_mday} {_MONTHS[local.tm_mon - 1]} {local.tm_year} "
        f"{local.tm_hour:02}:{local.tm_min:02}:{local.tm_sec:02} {sign}{hours:02}{minutes:02}"
    )
