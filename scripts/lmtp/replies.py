"""What a server answers: lines to replies (RFC 5321 4.2). Pure."""

import re
from dataclasses import dataclass

# RFC 5321 4.5.3.1.5 has 512 with CRLF. Servers put the client's address into it, so be generous.
LINE_OCTETS = 4096
# Lines of one reply; an LHLO with every extension there is has some 30.
LINES = 200

_LINE = re.compile(rb"([2-5][0-9][0-9])(?:([ -])(.*))?", re.DOTALL)
_STATUS = re.compile(r"([245]\.[0-9]{1,3}\.[0-9]{1,3})(?: |$)")


class ProtocolError(Exception):
    """The server said something that no server may say."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One complete reply."""

    code: int
    lines: tuple[str, ...]  # the texts, without code

    @property
    def status(self) -> str:
        """The enhanced status code (RFC 2034), "" where there is none."""
        match = _STATUS.match(self.lines[0])
        return match[1] if match else ""

    @property
    def text(self) -> str:
        """The text without the enhanced status code; lines of a long reply joined by blanks."""
        return " ".join(line.removeprefix(self.status).strip() for line in self.lines).strip()

    @property
    def accepted(self) -> bool:
        """It is 2yz: done."""
        return self.code < 300

    @property
    def temporary(self) -> bool:
        """It is 4yz: try again."""
        return 400 <= self.code < 500

    def __str__(self) -> str:
        return " ".join(filter(None, (str(self.code), self.status, self.text)))


class ReplyReader:
    """Puts replies together from lines."""

    def __init__(self) -> None:
        self._code: int | None = None
        self._lines: list[str] = []

    def feed(self, line: bytes) -> Reply | None:
        """Take one line without its end; return the reply that it ends. ProtocolError."""
        match = _LINE.fullmatch(line)
        if match is None:
            raise ProtocolError(f"not a reply: {shown(line)}")
        code = int(match[1])
        if self._code not in (None, code):
            raise ProtocolError(f"a reply begins with {self._code} and goes on with {shown(line)}")
        self._code = code
        self._lines.append((match[3] or b"").decode("utf-8", "backslashreplace"))
        if len(self._lines) > LINES:
            raise ProtocolError(f"a reply of more than {LINES} lines")
        if match[2] == b"-":
            return None
        reply = Reply(code, tuple(self._lines))
        self._code, self._lines = None, []
        return reply


def shown(line: bytes) -> str:
    """Make what a peer sent readable, and short."""
    return repr(line[:100])[2:-1]
