"""Reports and events as lines: key=value text or JSON, safe whatever a peer wrote.

The rule: a line holds printable characters only, so that nobody can forge a second line, a colour or a
direction mark through an address, a header or a file name.
"""

import json
import re
import time
from collections.abc import Iterable, Iterator

from lmtpd.report.records import Level, RecipientReport

# A value longer than this is cut: a line should fit into PIPE_BUF, which the kernel writes as a whole.
VALUE_CHARACTERS = 1024
MARK_OF_CUT = "..."

Fields = Iterable[tuple[str, object]]

_BARE = re.compile(
    r"[!#-&(-<>-\[\]-~]+"
).fullmatch  # printable ASCII without space, quotes, equals sign, backslash
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def report_fields(report: RecipientReport) -> Iterator[tuple[str, object]]:
    """Yield the fields that say something, in the order of `vocabulary.FIELDS`."""
    yield "queue_id", report.queue_id
    yield "id", report.id
    yield "message_id", report.message_id
    yield "from", f"<{report.sender}>"
    yield "to", f"<{report.recipient}>"
    if report.original_recipient:
        yield "orig_to", f"<{report.original_recipient}>"
    yield "maildir", report.maildir
    yield "folder", report.folder
    yield "file", report.file
    yield "octets", report.octets
    yield "reply", report.reply
    yield "cause", report.cause
    yield "detail", report.detail
    yield "client", report.client
    yield "helo", report.helo
    if report.tls:
        yield "tls", True
    for phase, duration_ms in report.phases_ms.items():
        yield f"{phase}_ms", duration_ms


def text_line(at: float, name: str, fields: Fields) -> str:
    """Write `TIME name key=value ...`."""
    return f"{timestamp(at)} {untimed_text_line(at, name, fields)}"


def untimed_text_line(at: float, name: str, fields: Fields) -> str:  # noqa: ARG001 - one signature for all
    """Write `name key=value ...`, for the journal, which has the time itself."""
    pairs = [f"{key}={_text_value(value)}" for key, value in fields if value is not None and value != ""]
    return " ".join([name, *pairs])


def json_line(at: float, name: str, fields: Fields) -> str:
    """Write one JSON object with "at" and "event" first."""
    values = {key: _json_value(value) for key, value in fields if value is not None and value != ""}
    line = json.dumps({"at": timestamp(at), "event": name, **values}, separators=(",", ":"))
    return line.replace("\x7f", "\\u007f")  # the one control character that JSON lets through


def timestamp(at: float) -> str:
    """Write a moment in local time with its offset, to the millisecond (RFC 3339)."""
    second, millisecond = divmod(int(at * 1000), 1000)
    date, offset = _clock(second)
    return f"{date}.{millisecond:03d}{offset}"


def escaped(text: str) -> str:
    """Replace what is not printable: C0 and C1 controls, line and direction marks, stray bytes."""
    if text.isprintable() and "\\" not in text and '"' not in text:
        return text
    return "".join(map(_escaped_character, text))


def prefixed(line: str, level: Level) -> str:
    """Put sd-daemon(3)'s priority in front, which the journal reads and removes."""
    return f"<{level:d}>{line}"


def _escaped_character(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isprintable():
        return character
    code = ord(character)
    # os.fsdecode and errors="surrogateescape" keep a stray byte as U+DC80 to U+DCFF.
    if code < 0x80 or 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code & 0xFF:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _text_value(value: object) -> str:
    if isinstance(value, str):
        text = value if len(value) <= VALUE_CHARACTERS else _cut(value)
        return text if _BARE(text) else f'"{escaped(text)}"'
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else _text_value(str(value))


def _json_value(value: object) -> object:
    return value if isinstance(value, int | float) else _cut(str(value))


def _cut(text: str) -> str:
    return (
        text if len(text) <= VALUE_CHARACTERS else text[: VALUE_CHARACTERS - len(MARK_OF_CUT)] + MARK_OF_CUT
    )


class _Clock:
    """strftime once per second instead of once per line."""

    def __init__(self) -> None:
        self._last: tuple[int, tuple[str, str]] = (-1, ("", ""))

    def __call__(self, second: int) -> tuple[str, str]:
        # Read and replaced as one value: threads may share it.
        known, parts = self._last
        if known != second:
            local = time.localtime(second)
            offset = time.strftime("%z", local)
            parts = time.strftime("%Y-%m-%dT%H:%M:%S", local), f"{offset[:3]}:{offset[3:]}"
            self._last = second, parts
        return parts


_clock = _Clock()
