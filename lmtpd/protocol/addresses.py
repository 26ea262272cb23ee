"""Mail addresses as they stand in MAIL and RCPT (RFC 5321 4.1.2, RFC 6531).

Owns the grammar of a path.  It is relaxed where strictness would bounce mail that Postfix accepted ("a..b",
"_" in a domain) and strict where safety needs it: no control byte of any kind gets into an Address.  What no
path in a file system can be made of is not refused here; the recipient sources look at that.
"""

import ipaddress
import re
from dataclasses import dataclass

DOMAIN_OCTETS = 255  # RFC 5321 4.5.3.1.2
LABEL_OCTETS = 63  # RFC 1035 2.3.4

# Bytes from 0x80 up are UTF-8 of RFC 6531, looked at after decoding.
_DOMAIN = rb"[A-Za-z0-9_\x80-\xff-]+(?:\.[A-Za-z0-9_\x80-\xff-]+)*"
_PATH = re.compile(
    rb"""
    <
    (?: @ DOMAIN (?: , @ DOMAIN )* : )?              # source route: read and ignored (RFC 5321 4.1.1.3)
    (?:
        ( [^\x00-\x20\x7f()<>@,;:\\"\[\]]+ )         # 1 dot-string, with dots anywhere
      | " ( (?: [^\x00-\x1f\x7f"\\] | \\[\x20-\x7e] )* ) "    # 2 quoted string, still with its backslashes
    )
    (?: @ (?: ( DOMAIN )                             # 3
            | \[ ( [0-9.]+ ) \]                      # 4 IPv4 literal
            | \[ (?i:IPv6:) ( [0-9A-Fa-f:.]+ ) \]    # 5 IPv6 literal
    ) )?                                             # none: <Postmaster> (RFC 5321 4.5.1)
    >
    """.replace(b"DOMAIN", _DOMAIN),
    re.VERBOSE | re.DOTALL,
).match
_ASCII_DOMAIN = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*").fullmatch
_DOT_STRING = re.compile(
    r'[^\x00-\x20\x7f-\x9f()<>@,;:\\".\[\]]+(?:\.[^\x00-\x20\x7f-\x9f()<>@,;:\\".\[\]]+)*'
)
_QUOTED_PAIR = re.compile(rb"\\(.)")
# C1 controls and the two line separators: a terminal or str.splitlines would take them for a new line.
_UNICODE_CONTROL = re.compile("[\x80-\x9f\u2028\u2029]").search


class AddressError(ValueError):
    """The path is malformed.  The message is made for a reply: ASCII, and nothing of it is the peer's."""


class NonAsciiAddress(AddressError):
    """The path needs SMTPUTF8 and the transaction does not have it (RFC 6531 3.4)."""


@dataclass(frozen=True, slots=True)
class Address:
    """A mailbox as named on the wire.

    local is unquoted, its case kept, not normalised: folding is the recipient source's business.  domain is
    lower case and in A-label form; an address literal reads "[192.0.2.1]" or "[IPv6:2001:db8::1]"; "" means
    that none was given.
    """

    local: str
    domain: str

    def __str__(self) -> str:
        """Return the form of RFC 5321, the local part quoted where it must be."""
        local = self.local
        if _DOT_STRING.fullmatch(local) is None:
            local = '"' + local.replace("\\", "\\\\").replace('"', '\\"') + '"'
        return f"{local}@{self.domain}" if self.domain else local


def parse_path(text: bytes, *, smtputf8: bool) -> tuple[Address | None, int]:
    """Parse the path at the beginning of text and return (address, index behind its ">").

    The address is None for "<>".  Raises AddressError, or NonAsciiAddress where smtputf8 is False.
    """
    if text.startswith(b"<>"):
        return None, 2
    match = _PATH(text)
    if match is None:
        raise AddressError("malformed address")
    path, dot_string, quoted, domain, ipv4, ipv6 = match.group(0, 1, 2, 3, 4, 5)
    if not path.isascii():
        if not smtputf8:
            raise NonAsciiAddress("address needs SMTPUTF8")
        _check_utf8(path)
    local = dot_string if quoted is None else _QUOTED_PAIR.sub(rb"\1", quoted)
    host = _parse_literal(ipv4, ipv6) if domain is None else _parse_domain(domain)
    return Address(local.decode("utf-8"), host), len(path)


def split_detail(local: str, delimiters: str) -> tuple[str, str | None]:
    """Split "user+detail" at the first of the delimiters, exactly as Postfix does (split_addr.c).

    A local part that begins with a delimiter is not split: its user would be nobody.
    """
    for index, character in enumerate(local):
        if character in delimiters:
            return (local[:index], local[index + 1 :]) if index else (local, None)
    return local, None


def _check_utf8(path: bytes) -> None:
    """Check all of it, also the source route that nobody reads: the path as issued goes into logs."""
    try:
        text = path.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise AddressError("address is not UTF-8") from exc
    if _UNICODE_CONTROL(text):
        raise AddressError("control character in address")


def _parse_domain(domain: bytes) -> str:
    if len(domain) > DOMAIN_OCTETS:
        raise AddressError("domain too long")
    name = domain.decode("ascii").lower() if domain.isascii() else _to_a_labels(domain)
    if len(name) > LABEL_OCTETS and max(map(len, name.split("."))) > LABEL_OCTETS:
        raise AddressError("domain label too long")
    return name


def _to_a_labels(domain: bytes) -> str:
    try:
        name = domain.decode("utf-8").encode("idna").decode("ascii").lower()
    except UnicodeError as exc:
        raise AddressError("bad international domain") from exc
    # The mapping turns a full-width solidus into "/" and other dots into ".": look again.
    if len(name) > DOMAIN_OCTETS or _ASCII_DOMAIN(name) is None:
        raise AddressError("bad international domain")
    return name


def _parse_literal(ipv4: bytes | None, ipv6: bytes | None) -> str:
    try:
        if ipv4 is not None:
            return f"[{ipaddress.IPv4Address(ipv4.decode('ascii'))}]"
        if ipv6 is not None:
            return f"[IPv6:{ipaddress.IPv6Address(ipv6.decode('ascii'))}]"
    except ValueError as exc:
        raise AddressError("bad address literal") from exc
    return ""
