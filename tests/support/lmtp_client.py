"""A small LMTP client that trusts nothing: one reply at a time, and every reply held against the RFCs.

`smtplib.LMTP` reads one reply for all recipients; this one can say any bytes and counts what comes back.
"""

import contextlib
import re
import socket
import ssl
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType

REPLY_LINE_OCTETS = 512  # RFC 5321 4.5.3.1.5, with CRLF
_ENHANCED = re.compile(r"([245])\.\d{1,3}\.\d{1,3} ")


class ProtocolError(AssertionError):
    """The server said something that no LMTP server may say."""


class ConnectionEnded(ProtocolError):
    """The stream ended where a reply was due."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One complete reply; `lines` are its texts without code and separator."""

    code: int
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        """All lines as one text."""
        return "\n".join(self.lines)

    @property
    def status(self) -> str:
        """The enhanced status code (RFC 2034), or "" where there is none."""
        return self.lines[0].split(" ", 1)[0] if _ENHANCED.match(self.lines[0] + " ") else ""


class LmtpClient:
    """One connection. Every wait ends after `timeout_s`."""

    def __init__(self, connection: socket.socket, *, timeout_s: float = 15.0) -> None:
        connection.settimeout(timeout_s)
        self.socket = connection
        self._held = b""

    @classmethod
    def connect(cls, address: str, *, timeout_s: float = 15.0) -> "LmtpClient":
        """Connect to "unix:PATH" or "tcp:HOST:PORT"; the greeting is still to be read."""
        kind, _, rest = address.partition(":")
        if kind == "unix":
            connection = socket.socket(socket.AF_UNIX)
            try:
                connection.settimeout(timeout_s)
                connection.connect(rest)
            except OSError:
                connection.close()
                raise
        else:
            host, _, port = rest.rpartition(":")
            connection = socket.create_connection((host.strip("[]"), int(port)), timeout_s)
        return cls(connection, timeout_s=timeout_s)

    def __enter__(self) -> "LmtpClient":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ---- bytes ----------------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Send the bytes as they are."""
        self.socket.sendall(data)

    def reply(self) -> Reply:
        """Read exactly one reply and check its form."""
        code, more, text = self._reply_line()
        lines = [text]
        while more:
            next_code, more, text = self._reply_line()
            if next_code != code:
                raise ProtocolError(f"a reply began with {code} and went on with {next_code}")
            lines.append(text)
        status = _ENHANCED.match(lines[0] + " ")
        if status and status[1] != str(code)[0]:
            raise ProtocolError(f"{code} with enhanced status {lines[0]!r} (RFC 2034 4)")
        return Reply(code, tuple(lines))

    def replies(self, count: int) -> list[Reply]:
        """Read so many replies."""
        return [self.reply() for _ in range(count)]

    def _reply_line(self) -> tuple[int, bool, str]:
        while b"\r\n" not in self._held:
            data = self.socket.recv(65536)
            if not data:
                raise ConnectionEnded(f"end of stream instead of a reply; held {self._held!r}")
            self._held += data
        line, self._held = self._held.split(b"\r\n", 1)
        if len(line) + 2 > REPLY_LINE_OCTETS:
            raise ProtocolError(f"reply line of {len(line) + 2} octets: {line!r}")
        found = re.fullmatch(rb"([2-5][0-9][0-9])([ -])([^\x00-\x08\x0a-\x1f\x7f]*)", line)
        if found is None:
            raise ProtocolError(f"no reply line: {line!r}")
        return int(found[1]), found[2] == b"-", found[3].decode("utf-8")

    def surplus(self, *, wait_s: float = 0.05) -> bytes:
        """Return bytes that came unasked for; wait a little for them. Empty is what a test wants."""
        timeout = self.socket.gettimeout()
        self.socket.settimeout(wait_s)
        try:
            self._held += self.socket.recv(65536)
        except TimeoutError:
            pass
        finally:
            self.socket.settimeout(timeout)
        return self._held

    def rest(self) -> bytes:
        """Return everything up to the end of the stream; a reset counts as its end."""
        with contextlib.suppress(ConnectionResetError, ssl.SSLZeroReturnError):  # behind our own close_notify
            while data := self.socket.recv(65536):
                self._held += data
        rest, self._held = self._held, b""
        return rest

    # ---- commands -------------------------------------------------------------------------------

    def command(self, line: str | bytes) -> Reply:
        """Send one command line and read its reply."""
        return self.commands(line)[0]

    def commands(self, *lines: str | bytes) -> list[Reply]:
        """Send several command lines at once, then read a reply for each (RFC 2920)."""
        self.send(b"".join(_encoded(line) + b"\r\n" for line in lines))
        return self.replies(len(lines))

    def greet(self, name: str = "client.example.org") -> "LmtpClient":
        """Read the 220 and say LHLO; return self, so that a connection is one expression."""
        _expect(self.reply(), 220)
        self.capabilities = self.lhlo(name)
        return self

    def lhlo(self, name: str = "client.example.org") -> dict[str, str]:
        """Say LHLO; return the offered keywords with their parameters."""
        reply = _expect(self.command(f"LHLO {name}"), 250)
        offers = (line.partition(" ") for line in reply.lines[1:])
        return {keyword.upper(): parameters for keyword, _, parameters in offers}

    def starttls(self, context: ssl.SSLContext, *, server_name: str = "localhost") -> None:
        """Say STARTTLS and shake hands; LHLO is due again."""
        _expect(self.command("STARTTLS"), 220)
        if self._held:
            raise ProtocolError(f"bytes behind the 220 of STARTTLS: {self._held!r}")
        self.socket = context.wrap_socket(self.socket, server_hostname=server_name)

    def envelope(
        self, sender: str, recipients: Iterable[str], *, parameters: str = "", pipelined: bool = True
    ) -> list[Reply]:
        """Open a transaction; return the reply of each RCPT. `sender` and recipients without brackets."""
        lines = [f"MAIL FROM:<{sender}>{parameters and ' ' + parameters}"]
        lines += [f"RCPT TO:<{recipient}>" for recipient in recipients]
        replies = self.commands(*lines) if pipelined else [self.command(line) for line in lines]
        _expect(replies[0], 250)
        return replies[1:]

    def deliver(
        self,
        sender: str,
        recipients: Sequence[str],
        body: bytes,
        *,
        parameters: str = "",
        chunk_octets: int | None = None,
    ) -> list[Reply]:
        """Send one message; return each recipient's final reply, in order, whether from RCPT or from the end.

        `body` is what goes over the wire but for dot-stuffing: it must end in CRLF for DATA. With
        `chunk_octets` it goes by BDAT instead, as it is.
        """
        verdicts = self.envelope(sender, recipients, parameters=parameters)
        accepted = [place for place, reply in enumerate(verdicts) if reply.code == 250]
        if not accepted:
            _expect(self.command("RSET"), 250)
            return verdicts
        if chunk_octets is None:
            _expect(self.command("DATA"), 354)
            self.send(stuffed(body) + b".\r\n")
        else:
            self._send_chunks(body, chunk_octets)
        for place in accepted:
            verdicts[place] = self.reply()
        return verdicts

    def _send_chunks(self, body: bytes, chunk_octets: int) -> None:
        chunks = [body[at : at + chunk_octets] for at in range(0, len(body), chunk_octets)] or [b""]
        for chunk in chunks[:-1]:
            self.send(b"BDAT %d\r\n" % len(chunk) + chunk)
            _expect(self.reply(), 250)
        self.send(b"BDAT %d LAST\r\n" % len(chunks[-1]) + chunks[-1])

    def quit(self) -> None:
        """Say QUIT, and see 221 and the end of the stream and nothing else."""
        _expect(self.command("QUIT"), 221)
        if rest := self.rest():
            raise ProtocolError(f"bytes behind the 221: {rest!r}")
        self.close()

    # ---- endings --------------------------------------------------------------------------------

    def half_close(self) -> None:
        """End our direction only; replies can still be read."""
        if isinstance(self.socket, ssl.SSLSocket):
            timeout = self.socket.gettimeout()
            self.socket.settimeout(0)
            with contextlib.suppress(ssl.SSLWantReadError):
                while data := self.socket.recv(65536):  # unwrap() would stumble over it
                    self._held += data
            with contextlib.suppress(ssl.SSLWantReadError):
                self.socket.unwrap()  # sends close_notify; the server's own may take its time
            self.socket.settimeout(timeout)
        # Not SSLSocket.shutdown(), which forgets the keys: what comes could not be read any more.
        socket.socket.shutdown(self.socket, socket.SHUT_WR)

    def reset(self) -> None:
        """Close so that a TCP peer sees a reset, as from a client that was killed."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        """Close without a word."""
        self.socket.close()


def stuffed(body: bytes) -> bytes:
    """Double the dot at the start of each line (RFC 5321 4.5.2). A line starts behind CRLF only."""
    body = body.replace(b"\r\n.", b"\r\n..")
    return b"." + body if body.startswith(b".") else body


def _encoded(line: str | bytes) -> bytes:
    return line.encode("utf-8") if isinstance(line, str) else line


def _expect(reply: Reply, code: int) -> Reply:
    if reply.code != code:
        raise ProtocolError(f"expected {code}, got {reply.code} {reply.text}")
    return reply
