"""Bytes in; command lines and message bodies out.

Owns where a line ends and where a message ends (RFC 5321 2.3.8, 4.1.1.4, 4.5.2; RFC 3030 2).  The rule:
CR LF and nothing else ends a line, CR LF "." CR LF and nothing else ends the data, and how the peer cut its
bytes into packets never matters.  Whoever disagrees with the sender about that lets a third party smuggle
messages past the sender (CVE-2023-51764 and its kin).
"""

import re

CRLF = b"\r\n"
END_OF_DATA = b"\r\n.\r\n"

# A compiled pattern scans for this twice as fast as bytes.find and bytes.replace do.
_LEADING_DOT = re.compile(rb"\r\n\.").search

_CR, _LF, _NUL = b"\r\n\0"


class BadLine(Exception):
    """A command line that must not be obeyed; it has been read to its CRLF, so the stream is in step."""

    def __init__(self, head: bytes) -> None:
        super().__init__()
        self.head = head  # enough of its beginning to tell the verb


class LineTooLong(BadLine):
    """The line has more octets than allowed, its CRLF included (RFC 5321 4.5.3.1.4)."""


class StrayByte(BadLine):
    """The line contains a bare CR, a bare LF or a NUL (RFC 5321 2.3.8, 4.1.2)."""


class Input:
    """What the peer has sent and nobody has read: data[start:].

    line_octets limits a command line, CRLF included.  Of a longer line no more than that is ever kept.
    """

    __slots__ = ("_line_octets", "_long_head", "data", "start")

    def __init__(self, line_octets: int) -> None:
        self.data = b""
        self.start = 0
        self._line_octets = line_octets
        self._long_head = b""  # not empty: we are inside a line that is too long

    def add(self, data: bytes) -> None:
        """Append what was received."""
        self.data = data if self.start == len(self.data) else self.data[self.start :] + data
        self.start = 0

    def clear(self) -> None:
        """Forget everything that was not read."""
        self.data = b""
        self.start = 0
        self._long_head = b""

    def unread(self) -> bytes:
        """Return what is there without reading it; not a copy if nothing of it has been read."""
        return self.data[self.start :]

    def __bool__(self) -> bool:
        return self.start < len(self.data)

    def next_line(self) -> bytes | None:
        """Read one command line and return it without its CRLF; None if its end has not arrived.

        Raises LineTooLong or StrayByte once such a line has been read to its CRLF.
        """
        if self.start == len(self.data):
            return None
        end = self.data.find(CRLF, self.start)
        if end < 0:
            self._shorten()
            return None
        line = self.data[self.start : end]
        self.start = end + 2
        if self._long_head or len(line) + 2 > self._line_octets:
            head = self._long_head or line[:16]
            self._long_head = b""
            raise LineTooLong(head)
        if _CR in line or _LF in line or _NUL in line:
            raise StrayByte(line[:16])
        return line

    def _shorten(self) -> None:
        """Drop what we have of a line that has become too long, all but a CR that may begin its end."""
        if len(self.data) - self.start < self._line_octets and not self._long_head:
            return
        self._long_head = self._long_head or self.data[self.start : self.start + 16]
        self.data = b"\r" if self.data.endswith(b"\r") else b""
        self.start = 0


class BodyReader:
    """Reads the body that follows DATA: undoes dot-stuffing, finds the end (RFC 5321 4.5.2, 4.1.1.4).

    We pretend that a CRLF came just before the body: then "." on the first line needs no special case.
    """

    __slots__ = ("_held", "_to_drop")

    is_last = True  # a body sent by DATA is complete when it ends

    def __init__(self) -> None:
        self._held = CRLF
        self._to_drop = 2  # the pretended CRLF is never handed on

    def read(self, source: Input) -> tuple[bytes, bool]:
        """Return (body bytes, whether the body ends with them) and leave in source what follows the end.

        A bare CR, a bare LF and a NUL are data like any other; a dot is un-stuffed only behind CRLF.
        """
        if not source:
            return b"", False
        data = self._held + source.unread()
        dot = _LEADING_DOT(data)
        end = -1 if dot is None else data.find(END_OF_DATA, dot.start())
        if end >= 0:
            cut = end + 2
            source.start = len(source.data) - (len(data) - end - len(END_OF_DATA))
        else:
            cut = len(data) - _overlap(data)
            source.clear()
            self._held = data[cut:]
        body = data[:cut]
        if dot is not None and dot.start() != end:
            body = body.replace(b"\r\n.", CRLF)
        dropped = min(self._to_drop, len(body))
        self._to_drop -= dropped
        return body[dropped:], end >= 0


def _overlap(data: bytes) -> int:
    """Length of the longest suffix of data that could begin END_OF_DATA."""
    return next(n for n in (4, 3, 2, 1, 0) if data.endswith(END_OF_DATA[:n]))


class ChunkReader:
    """Reads the octets that follow BDAT (RFC 3030 2): so many, whatever they are."""

    __slots__ = ("_left", "is_last", "octets")

    def __init__(self, octets: int, *, is_last: bool) -> None:
        self.octets = octets
        self.is_last = is_last
        self._left = octets

    def read(self, source: Input) -> tuple[bytes, bool]:
        """Return (body bytes, whether the chunk ends with them) and leave in source what follows it."""
        body = source.data[source.start : source.start + self._left]
        source.start += len(body)
        self._left -= len(body)
        return body, self._left == 0
