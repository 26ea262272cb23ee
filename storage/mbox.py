r"""mbox: many messages in one file, read and written. Pure.

    From alice@example.org Tue Nov 24 10:00:00 2026
    Status: RO
    X-Status: A
    Subject: ...

    >From the body
    <empty line>

A message ends where a valid "From " line begins, or where its Content-Length says so and one begins there.
(The standard library's `mailbox` takes any line that begins with "From " for a start, which cuts mail in two
that was written unquoted, as by Dovecot.) Quoting is mboxrd's: a body line of any number of ">" and "From "
has one ">" more in the file.

Mail readers keep a message's state in header fields of the file (Status, X-Status, X-Keywords,
X-Mozilla-Status, ...). They are not the message's: the first of each name is taken off when it is read, and
where a message has such a field itself one more is written, so that a message comes back as it was.
"""

import calendar
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from mmap import mmap

_MONTHS = {name: number for number, name in enumerate(calendar.month_abbr) if name}
_FROM = re.compile(
    rb"From (?:(?P<sender>\S.*?) +)?(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun),? +"
    rb"(?P<month>Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) +(?P<day>[0-9]{1,2}) +"
    rb"(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2}))?"
    rb"(?: +(?P<zone>[+-][0-9]{4}|[A-Z]{1,5}))? +(?P<year>[0-9]{4})(?: +(?P<behind>[+-][0-9]{4}))?[ \t\r]*"
)
# No sender is longer (RFC 5321 4.5.3.1.3 has 256); a line behind "From " that is, is no separator.
_FROM_OCTETS = 2000
_HEADER_END = re.compile(rb"\n\r?\n")
_BEHIND_LENGTH = re.compile(rb"(?:\r?\n){0,2}")
_FIELD = re.compile(rb"(?P<name>[!-9;-~]+)[ \t]*:[^\n]*(?:\n[ \t][^\n]*)*(?:\n|\Z)")
_TO_QUOTE = re.compile(rb"^(?=>*From )", re.MULTILINE)
_RD_QUOTED = re.compile(rb"^>(?=>*From )", re.MULTILINE)
_O_QUOTED = re.compile(rb"^>(?=From )", re.MULTILINE)
# Dovecot's and UW's first message of a folder, which is about the folder.
_INTERNAL = re.compile(
    rb"^subject:[ \t]*don't delete this message -- folder internal data", re.IGNORECASE | re.MULTILINE
)

_STATE = frozenset(
    {
        *(b"status", b"x-status", b"x-keywords", b"x-uid", b"x-imap", b"x-imapbase", b"content-length"),
        *(b"x-mozilla-status", b"x-mozilla-status2", b"x-mozilla-keys"),
    }
)
_X_STATUS = {"A": "R", "F": "F", "D": "T", "T": "D"}
# Mozilla's nsMsgMessageFlags: read, replied, marked, forwarded.
_MOZILLA = ((0x1, "S"), (0x2, "R"), (0x4, "F"), (0x1000, "P"))
_MOZILLA_EXPUNGED = 0x8
_NO_SENDER = b"MAILER-DAEMON"


class Quoting(Enum):
    """How a writer marks body lines that begin with "From "."""

    RD = "rd"  # one ">" more for any number of them
    O = "o"  # noqa: E741 - mboxo: ">From " only, so what was so before cannot be told
    NONE = "none"  # not at all


@dataclass(frozen=True, slots=True)
class MboxMessage:
    """One message, with LF line ends, without what belongs to the file."""

    content: bytes
    flags: str  # of Maildir, capitals
    keywords: tuple[str, ...]
    is_new: bool  # no reader has seen that it is there
    arrived_s: int | None  # since 1970
    offset: int  # of its "From " line


def read(data: bytes | mmap, quoting: Quoting = Quoting.RD) -> Iterator[MboxMessage]:
    """Read a file. ValueError: it does not begin with "From "."""
    start = _skip_empty_lines(data)
    if start == len(data):
        return
    if data[start : start + 5] != b"From ":
        raise ValueError('it does not begin with "From "')
    while start < len(data):
        head, end, following = _extent(data, start)
        message = _message(data[start:head], data[head:end], quoting, start)
        if message is not None:
            yield message
        start = following


def write(message: MboxMessage, sender: bytes) -> bytes:
    """Write one message; a whole file is nothing but these, one after the other.

    A header that is cut off within a line gets a line end; one that begins with a blank loses its first line.
    """
    when = time.asctime(time.gmtime(message.arrived_s or 0)).encode()
    header, separator, body = divided(message.content)
    quoted_header, quoted_body = (_TO_QUOTE.sub(b">", each) for each in (header, body))
    state = _state(message)
    present = state_fields(header)[1]
    if not message.content.endswith(b"\n"):
        # Only so it can be told that there is no line end.
        state[b"Content-Length"] = b"%d" % len(quoted_body) if separator else b""
    written = {name.lower() for name in state}
    state |= {name: b"" for name in sorted(present) if name not in written}
    top = b"".join(b"%s: %s\n" % field for field in state.items())
    end = b"\n" if message.content.endswith(b"\n") else b"\n\n"
    line = b"From %s %s\n" % (_one_word(sender), when)
    return line + top + quoted_header + separator + quoted_body + end


def state_fields(header: bytes) -> tuple[bytes, dict[bytes, bytes]]:
    """Take the first field of each name that keeps state off a header; return the rest, and their values."""
    found: dict[bytes, bytes] = {}
    kept: list[bytes] = []
    at = 0
    while at < len(header):
        match = _FIELD.match(header, at)
        end = match.end() if match else _line_end(header, at)
        name = match["name"].lower() if match else b""
        if match and name in _STATE and name not in found:
            found[name] = match[0].partition(b":")[2].strip()
        else:
            kept.append(header[at:end])
        at = end
    return b"".join(kept), found


def divided(content: bytes) -> tuple[bytes, bytes, bytes]:
    """Divide a message into header, with its last line end, the empty line, and body."""
    if content.startswith((b"\n", b"\r\n")):
        end = content.index(b"\n") + 1
        return b"", content[:end], content[end:]
    match = _HEADER_END.search(content)
    if match is None:
        return content, b"", b""
    middle = match.start() + 1
    return content[:middle], content[middle : match.end()], content[match.end() :]


def _skip_empty_lines(data: bytes | mmap) -> int:
    match = re.match(rb"[\r\n]*", data)
    return match.end() if match else 0


def _extent(data: bytes | mmap, start: int) -> tuple[int, int, int]:
    """Return where a message's header begins, where the message ends, and where the next one begins."""
    head = _line_end(data, start)
    following = _next_separator(data, head - 1)
    ends = _HEADER_END.search(data, max(head - 1, 0))
    if ends is not None and ends.end() <= following + 1:
        length = state_fields(data[head : ends.end()])[1].get(b"content-length", b"")
        if length.isdigit() and len(length) < 16:
            end = ends.end() + int(length)
            behind = _BEHIND_LENGTH.match(data, end)
            if end <= len(data) and behind and _begins(data, behind.end()):
                return head, end, behind.end()
    end = following
    for line_end in (b"\n", b"\r"):
        # The empty line is the separator's.
        if end - 1 >= head and data[end - 1 : end] == line_end and _is_empty_line(data, end, head):
            end -= 1
    return head, end, following


def _is_empty_line(data: bytes | mmap, end: int, head: int) -> bool:
    before = data[max(head - 1, end - 3) : end]
    return before.endswith((b"\n\n", b"\n\r\n", b"\n\r"))


def _next_separator(data: bytes | mmap, at: int) -> int:
    while (at := data.find(b"\nFrom ", at)) >= 0:
        if _begins(data, at + 1):
            return at + 1
        at += 1
    return len(data)


def _begins(data: bytes | mmap, at: int) -> bool:
    """Tell whether a message begins here, or the file ends."""
    return at == len(data) or _FROM.fullmatch(_line(data, at)) is not None


def _line(data: bytes | mmap, at: int) -> bytes:
    return data[at : min(_line_end(data, at), at + _FROM_OCTETS)].removesuffix(b"\n")


def _line_end(data: bytes | mmap, at: int) -> int:
    return data.find(b"\n", at) + 1 or len(data)


def _message(line: bytes, content: bytes, quoting: Quoting, offset: int) -> MboxMessage | None:
    if line.endswith(b"\r\n"):
        content = content.replace(b"\r\n", b"\n")
    header, separator, body = divided(content)
    if _INTERNAL.search(header):
        return None
    header, state = state_fields(header)
    mozilla = _hexadecimal(state.get(b"x-mozilla-status", b""))
    if mozilla & _MOZILLA_EXPUNGED:
        return None  # deleted, and only not yet taken out of the file
    status = state.get(b"status", b"").decode("ascii", "replace")
    flags = {"S"} if "R" in status else set()
    flags |= {_X_STATUS.get(each, each) for each in state.get(b"x-status", b"").decode("ascii", "replace")}
    flags |= {letter for bit, letter in _MOZILLA if mozilla & bit}
    keywords = b" ".join((state.get(b"x-keywords", b""), state.get(b"x-mozilla-keys", b"")))
    whole = header + separator + body
    if quoting is not Quoting.NONE:
        whole = (_RD_QUOTED if quoting is Quoting.RD else _O_QUOTED).sub(b"", whole)
    return MboxMessage(
        whole,
        "".join(sorted(flags & set("DFPRST"))),
        tuple(dict.fromkeys(keywords.decode("ascii", "replace").split())),
        is_new=not flags and not {"R", "O"} & set(status),
        arrived_s=_arrived(line),
        offset=offset,
    )


def _state(message: MboxMessage) -> dict[bytes, bytes]:
    status = ("R" if "S" in message.flags else "") + ("" if message.is_new else "O")
    letters = {flag: letter for letter, flag in _X_STATUS.items()} | {"P": "P"}
    x_status = "".join(letters[flag] for flag in message.flags if flag in letters)
    fields = {"Status": status, "X-Status": x_status, "X-Keywords": " ".join(message.keywords)}
    return {name.encode(): value.encode() for name, value in fields.items() if value}


def _arrived(line: bytes) -> int | None:
    match = _FROM.fullmatch(line.rstrip(b"\r\n"))
    if match is None:
        return None
    zone = (match["zone"] or match["behind"] or b"").decode()
    ahead_s = 0
    if zone[:1] in ("+", "-"):
        ahead_s = (int(zone[1:3]) * 3600 + int(zone[3:5]) * 60) * (-1 if zone[0] == "-" else 1)
    year, day, hour, minute, second = (
        int(match[part] or 0) for part in ("year", "day", "hour", "minute", "second")
    )
    month = _MONTHS[match["month"].decode()]
    try:
        moment = datetime(year, month, day, hour, minute, min(second, 59), tzinfo=UTC)
    except ValueError:  # no such day
        return None
    return max(int(moment.timestamp()) - ahead_s, 0)


def _hexadecimal(text: bytes) -> int:
    try:
        return int(text, 16)
    except ValueError:
        return 0


def _one_word(sender: bytes) -> bytes:
    return sender if sender and not re.search(rb"[\s\x00-\x1f\x7f]", sender) else _NO_SENDER
