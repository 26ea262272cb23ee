"""What follows the verb: arguments and parameters of each command (RFC 5321 4.1.1, 1870, 3030, 3461, 6531).

Functions from bytes to values; a BadCommand carries the reply that refuses.  None knows the session's state.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

from lmtpd.protocol import replies
from lmtpd.protocol.addresses import Address, AddressError, NonAsciiAddress, parse_path
from lmtpd.protocol.events import NO_PARAMETERS, BodyType
from lmtpd.protocol.replies import Reply

SIZE_DIGITS = 20  # RFC 1870 3
ENVID_CHARACTERS = 100  # RFC 3461 4.4, once decoded
ORCPT_OCTETS = 500  # RFC 3461 4.2
XFORWARD_OCTETS = 255  # of one value, as Postfix's smtpd allows

_BODY_TYPES: dict[bytes, BodyType] = {b"7BIT": "7BIT", b"8BITMIME": "8BITMIME", b"BINARYMIME": "BINARYMIME"}
_XFORWARD_NAMES = {b"NAME", b"ADDR", b"PORT", b"PROTO", b"HELO", b"IDENT", b"SOURCE"}
_NOT_KNOWN = {b"[UNAVAILABLE]", b"[TEMPUNAVAIL]"}

_CHUNK = re.compile(rb"([0-9]{1,20})(?: +(LAST))?", re.IGNORECASE).fullmatch
_PRINTABLE_WORD = re.compile(rb"[\x21-\x7e]+").fullmatch
# RFC 3461 4; lower-case digits are taken as Postfix takes them.
_XTEXT = re.compile(rb"(?:[\x21-\x2a\x2c-\x3c\x3e-\x7e]|\+[0-9A-Fa-f]{2})+").fullmatch
_XTEXT_PAIR = re.compile(rb"\+(..)")
_NOTIFY = re.compile(rb"NEVER|(?:SUCCESS|FAILURE|DELAY)(?:,(?:SUCCESS|FAILURE|DELAY))*").fullmatch
_ADDRESS_TYPE = re.compile(rb"[A-Za-z0-9-]+").fullmatch


class BadCommand(Exception):
    """The command is refused; nothing has changed."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply)
        self.reply = reply


class MailParameters(NamedTuple):
    """The parameters of MAIL."""

    size: int | None = None
    body: BodyType = "7BIT"
    smtputf8: bool = False
    others: Mapping[str, bytes] = NO_PARAMETERS


_NO_MAIL_PARAMETERS = MailParameters()


def parse_lhlo(argument: bytes) -> str:
    """Return the client's name.  Any printable word will do: odd names are no reason to stop mail."""
    if _PRINTABLE_WORD(argument) is None:
        raise BadCommand(replies.LHLO_SYNTAX)
    return argument.decode("ascii")


def refuse_argument(argument: bytes) -> None:
    """Check that there is no argument."""
    if argument:
        raise BadCommand(replies.NO_ARGUMENT_ALLOWED)


def parse_mail(argument: bytes, *, dsn: bool = False) -> tuple[Address | None, bytes, MailParameters]:
    """Parse what follows MAIL; return (sender, path as issued, parameters)."""
    if argument[:6].upper() != b"FROM:<":
        raise BadCommand(replies.MAIL_SYNTAX)
    try:
        sender, end = parse_path(argument[5:], smtputf8=True)
    except AddressError as exc:
        raise BadCommand(replies.bad_sender(str(exc))) from exc
    path = argument[6 : end + 4]
    rest = argument[end + 5 :]
    parameters = _parse_mail_parameters(rest, dsn=dsn) if rest else _NO_MAIL_PARAMETERS
    if not parameters.smtputf8 and not path.isascii():  # only now do we know: SMTPUTF8 stands behind the path
        raise BadCommand(replies.NEEDS_SMTPUTF8)
    return sender, path, parameters


def parse_rcpt(
    argument: bytes, *, smtputf8: bool, dsn: bool = False
) -> tuple[Address, bytes, Mapping[str, bytes]]:
    """Parse what follows RCPT; return (recipient, path as issued, parameters)."""
    if argument[:4].upper() != b"TO:<":
        raise BadCommand(replies.RCPT_SYNTAX)
    try:
        recipient, end = parse_path(argument[3:], smtputf8=smtputf8)
    except NonAsciiAddress as exc:
        raise BadCommand(replies.NEEDS_SMTPUTF8) from exc
    except AddressError as exc:
        raise BadCommand(replies.bad_recipient(str(exc))) from exc
    if recipient is None:
        raise BadCommand(replies.bad_recipient("null address"))
    rest = argument[end + 3 :]
    parameters = _parse_rcpt_parameters(rest, dsn=dsn) if rest else NO_PARAMETERS
    return recipient, argument[4 : end + 2], parameters


def parse_bdat(argument: bytes) -> tuple[int, bool]:
    """Parse what follows BDAT; return (octets, whether this is the last chunk)."""
    match = _CHUNK(argument)
    if match is None:
        raise BadCommand(replies.BDAT_SYNTAX)
    return int(match[1]), match[2] is not None


def parse_xforward(argument: bytes) -> dict[str, str | None]:
    """Parse what follows XFORWARD (Postfix's XFORWARD_README); None for an attribute that is not known."""
    attributes: dict[str, str | None] = {}
    for word in argument.split():
        name, equals, value = word.partition(b"=")
        if name.upper() not in _XFORWARD_NAMES or not equals or len(value) > XFORWARD_OCTETS:
            raise BadCommand(replies.XFORWARD_SYNTAX)
        attributes[name.upper().decode("ascii")] = _parse_xforward_value(value)
    if not attributes:
        raise BadCommand(replies.XFORWARD_SYNTAX)
    return attributes


def decode_xtext(value: bytes) -> str:
    """Undo the encoding of RFC 3461 4; ValueError if it is not xtext of printable text."""
    if _XTEXT(value) is None:
        raise ValueError("not xtext")
    text = _XTEXT_PAIR.sub(lambda pair: bytes.fromhex(pair[1].decode("ascii")), value).decode("utf-8")
    if not text.isprintable():
        raise ValueError("not printable")
    return text


def is_cancelled(buffered: bytes) -> bool:
    """Whether commands not yet read begin with RSET, behind any NOOPs, and no MAIL follows.

    With a MAIL behind it the RSET is how a pipelining client begins its next message (RFC 2920 3.1).  A MAIL
    that has only begun to arrive counts: what we cannot rule out must not cancel a delivery.
    """
    *lines, begun = [line.rstrip(b" \t").upper() for line in buffered.split(b"\r\n")]
    commands = [line for line in lines if line.partition(b" ")[0] != b"NOOP"]
    if commands[:1] != [b"RSET"] or any(line.startswith(b"MAIL ") for line in commands):
        return False
    return not begun or not b"MAIL ".startswith(begun[:5])


def _parse_mail_parameters(text: bytes, *, dsn: bool) -> MailParameters:
    size: int | None = None
    body: BodyType = "7BIT"
    smtputf8 = False
    others: dict[str, bytes] = {}
    for keyword, value in _split_parameters(text, replies.MAIL_SYNTAX).items():
        match keyword:
            case b"SIZE":
                size = _parse_size(value)
            case b"BODY":
                body = _parse_body(value)
            case b"SMTPUTF8":
                smtputf8 = _parse_smtputf8(value)
            case b"AUTH":  # not offered, but nothing to refuse mail for: it is not us who must trust it
                others["AUTH"] = _parse_auth(value)
            case b"RET" if dsn:
                others["RET"] = _parse_ret(value)
            case b"ENVID" if dsn:
                others["ENVID"] = _parse_envid(value)
            case _:
                raise BadCommand(replies.UNKNOWN_PARAMETER)
    return MailParameters(size, body, smtputf8=smtputf8, others=others or NO_PARAMETERS)


def _parse_rcpt_parameters(text: bytes, *, dsn: bool) -> Mapping[str, bytes]:
    parameters = {}
    for keyword, value in _split_parameters(text, replies.RCPT_SYNTAX).items():
        match keyword:
            case b"ORCPT":  # also without DSN: harmless, and it tells the address before all aliases
                parameters["ORCPT"] = _parse_orcpt(value)
            case b"NOTIFY" if dsn:
                parameters["NOTIFY"] = _parse_notify(value)
            case _:
                raise BadCommand(replies.UNKNOWN_PARAMETER)
    return parameters


def _split_parameters(text: bytes, syntax: Reply) -> dict[bytes, bytes]:
    """Split " KEYWORD=value ..." into keywords in upper case and "=value" or nothing; none may come twice."""
    if not text.startswith(b" "):
        raise BadCommand(syntax)
    parameters: dict[bytes, bytes] = {}
    for word in text.split(b" "):
        if word:
            keyword, equals, value = word.partition(b"=")
            keyword = keyword.upper()
            if keyword in parameters:
                raise BadCommand(replies.REPEATED_PARAMETER)
            parameters[keyword] = equals + value
    return parameters


def _parse_size(value: bytes) -> int | None:
    digits = value[1:]
    if not digits.isdigit() or len(digits) > SIZE_DIGITS:
        raise BadCommand(replies.BAD_PARAMETER)
    return int(digits) or None  # 0 means "not known" (RFC 1870 5)


def _parse_body(value: bytes) -> BodyType:
    body = _BODY_TYPES.get(value[1:].upper())
    if body is None:
        raise BadCommand(replies.BAD_PARAMETER)
    return body


def _parse_smtputf8(value: bytes) -> bool:
    if value:
        raise BadCommand(replies.BAD_PARAMETER)
    return True


def _parse_auth(value: bytes) -> bytes:
    mailbox = value[1:]
    try:
        decode_xtext(mailbox)
    except ValueError as exc:
        raise BadCommand(replies.BAD_PARAMETER) from exc
    return mailbox


def _parse_ret(value: bytes) -> bytes:
    ret = value[1:].upper()
    if ret not in (b"FULL", b"HDRS"):
        raise BadCommand(replies.BAD_PARAMETER)
    return ret


def _parse_envid(value: bytes) -> bytes:
    try:
        decoded = decode_xtext(value[1:])
    except ValueError as exc:
        raise BadCommand(replies.BAD_PARAMETER) from exc
    if not decoded.isascii() or len(decoded) > ENVID_CHARACTERS:
        raise BadCommand(replies.BAD_PARAMETER)
    return value[1:]


def _parse_notify(value: bytes) -> bytes:
    notify = value[1:].upper()
    if _NOTIFY(notify) is None:
        raise BadCommand(replies.BAD_PARAMETER)
    return notify


def _parse_orcpt(value: bytes) -> bytes:
    address_type, _, address = value[1:].partition(b";")
    try:
        if len(value) > ORCPT_OCTETS + 1:
            raise ValueError("too long")
        if _ADDRESS_TYPE(address_type) is None:
            raise ValueError("bad address type")
        if (
            address_type.lower() == b"utf-8"
        ):  # RFC 6533 3: UTF-8 as it is, the rest as "\x{..}", which we keep
            if not address or not address.decode("utf-8").isprintable():
                raise ValueError("not printable")
        else:
            decode_xtext(address)
    except ValueError as exc:
        raise BadCommand(replies.BAD_PARAMETER) from exc
    return value[1:]


def _parse_xforward_value(value: bytes) -> str | None:
    if not value or value.upper() in _NOT_KNOWN:
        return None
    try:
        return decode_xtext(value)
    except ValueError as exc:
        raise BadCommand(replies.XFORWARD_SYNTAX) from exc
