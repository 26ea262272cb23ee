"""The dialogue with an LMTP server: greeting, LHLO, STARTTLS, transactions, QUIT (RFC 2033, 2920, 3207)."""

import socket
import ssl
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from scripts.lmtp.message import WireMessage
from scripts.lmtp.replies import LINE_OCTETS, ProtocolError, Reply, ReplyReader, shown

# What is sent before replies are read: both sides' buffers hold it, so nobody waits for the other
# (RFC 2920 3.1; Postfix sends no more at a time, either).
GROUP_OCTETS = 4096


class Refused(Exception):
    """The server does not want to talk."""

    def __init__(self, what: str, reply: Reply) -> None:
        super().__init__(f"{what}: {reply}")
        self.reply = reply


class Lost(Exception):
    """There is no connection, or no more; or the server kept us waiting for too long."""


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """Where a server listens."""

    path: str = ""  # of a unix socket; else
    host: str = ""
    port: int = 0

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read unix:PATH or tcp:HOST:PORT; an IPv6 address stands in brackets. ValueError."""
        kind, _, rest = text.partition(":")
        if kind == "unix" and rest:
            return cls(path=rest)
        host, colon, port = rest.rpartition(":")
        if kind == "tcp" and colon and host and port.isdecimal() and 0 < int(port) < 65536:
            return cls(host=host.removeprefix("[").removesuffix("]"), port=int(port))
        raise ValueError("write unix:PATH or tcp:HOST:PORT")

    def connect(self, timeout_s: float) -> socket.socket:
        """Connect. OSError."""
        if not self.path:
            return socket.create_connection((self.host, self.port), timeout_s)
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.settimeout(timeout_s)
            connection.connect(self.path)
        except BaseException:
            connection.close()
            raise
        return connection


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one recipient was answered at last."""

    recipient: str
    stage: str  # what was answered: "mail", "rcpt", or "data" with the message behind it
    reply: Reply
    seconds: float  # from the start of the transaction


class LmtpClient:
    """One connection, greeted. Every method raises Lost and ProtocolError."""

    def __init__(self, address: ServerAddress, *, name: str, timeout_s: float) -> None:
        """Connect, read the greeting and say LHLO by this name. Refused."""
        self._name = name
        self._timeout_s = timeout_s
        self._address = address
        self._held = b""
        self._reader = ReplyReader()
        try:
            self._socket = address.connect(timeout_s)
        except OSError as exc:
            raise Lost(f"cannot connect: {exc.strerror or exc}") from exc
        self.offers: Mapping[str, str] = {}
        self.tls = ""
        try:
            self.greeting = self._expect("the greeting", self._reply())
            self._lhlo()
        except BaseException:
            self.close()
            raise

    def starttls(self, context: ssl.SSLContext) -> None:
        """Go over to TLS. Refused, also where it is not offered."""
        if "STARTTLS" not in self.offers:
            raise ProtocolError("STARTTLS is not offered")
        self._expect("STARTTLS", self._command("STARTTLS"))
        if self._held:
            # Bytes that came in the clear must not count as what came under TLS (CVE-2011-0411).
            raise ProtocolError(f"bytes behind the reply to STARTTLS: {shown(self._held)}")
        try:
            encrypted = context.wrap_socket(self._socket, server_hostname=self._address.host or "localhost")
        except OSError as exc:  # an SSLError is one
            raise Lost(f"TLS: {getattr(exc, 'verify_message', '') or exc}") from exc
        self._socket = encrypted
        self.tls = encrypted.version() or ""
        self._lhlo()

    def send(self, sender: str, recipients: Sequence[str], message: WireMessage) -> Iterator[Verdict]:
        """Send a message; yield one verdict for each recipient, as soon as it is final.

        What was yielded before a Lost holds; of the others nobody knows, so they count as deferred.
        """
        start = time.monotonic()
        accepted = []
        for verdict in self._envelope(sender, recipients, self._parameters(message, sender, recipients)):
            if verdict.reply.accepted:
                accepted.append(verdict.recipient)
            else:
                yield verdict
        if not accepted:
            self._expect("RSET", self._command("RSET"))
            return
        opened = self._command("DATA")
        if opened.code == 354:
            self._write(message.data())
        for recipient in accepted:
            # A DATA that is refused is answered once, and that is the answer for each.
            reply = self._reply() if opened.code == 354 else opened
            yield Verdict(recipient, "data", reply, time.monotonic() - start)

    def ask(self, sender: str, recipients: Sequence[str]) -> Iterator[Verdict]:
        """Ask whether the recipients would be taken, and send nothing."""
        everybody = (sender, *recipients)
        parameters = "" if all(map(str.isascii, everybody)) else self._smtputf8()
        yield from self._envelope(sender, recipients, parameters)
        self._expect("RSET", self._command("RSET"))

    def quit(self) -> None:
        """Say QUIT, and close; what the server says to it does not matter any more."""
        try:
            self._command("QUIT")
        except (Lost, ProtocolError):
            pass
        finally:
            self.close()

    def close(self) -> None:
        """Close without a word."""
        self._socket.close()

    # ---- the dialogue ---------------------------------------------------------------------------

    def _lhlo(self) -> None:
        reply = self._expect("LHLO", self._command(f"LHLO {self._name}"))
        offers = (line.partition(" ") for line in reply.lines[1:])
        self.offers = {keyword.upper(): value for keyword, _, value in offers}

    def _envelope(self, sender: str, recipients: Sequence[str], parameters: str) -> list[Verdict]:
        """Say MAIL and RCPT; if the sender is refused, that is the answer for each recipient."""
        start = time.monotonic()
        opening = f"MAIL FROM:<{sender}>{parameters}"
        replies: list[Reply] = []
        times: list[float] = []
        lines = [opening, *(f"RCPT TO:<{recipient}>" for recipient in recipients)]
        for group in _groups(lines, pipelining="PIPELINING" in self.offers):
            self._write([b"".join(line.encode() + b"\r\n" for line in group)])
            for _ in group:
                replies.append(self._reply())
                times.append(time.monotonic() - start)
            if not replies[0].accepted:
                return [Verdict(recipient, "mail", replies[0], times[0]) for recipient in recipients]
        return [
            Verdict(recipient, "rcpt", reply, seconds)
            for recipient, reply, seconds in zip(recipients, replies[1:], times[1:], strict=True)
        ]

    def _parameters(self, message: WireMessage, sender: str, recipients: Sequence[str]) -> str:
        parameters = ""
        if "SIZE" in self.offers:
            parameters += f" SIZE={message.octets}"
        if message.is_8bit and "8BITMIME" in self.offers:
            parameters += " BODY=8BITMIME"
        if not all(map(str.isascii, (sender, *recipients))):
            parameters += self._smtputf8()
        elif message.has_utf8_header and "SMTPUTF8" in self.offers:
            parameters += " SMTPUTF8"
        return parameters

    def _smtputf8(self) -> str:
        if "SMTPUTF8" not in self.offers:
            raise ProtocolError("an address needs SMTPUTF8, which is not offered")
        return " SMTPUTF8"

    def _command(self, line: str) -> Reply:
        self._write([line.encode() + b"\r\n"])
        return self._reply()

    def _expect(self, what: str, reply: Reply) -> Reply:
        if not reply.accepted:
            raise Refused(what, reply)
        return reply

    def _write(self, pieces: Iterable[bytes]) -> None:
        try:
            for piece in pieces:
                self._socket.sendall(piece)
        except TimeoutError as exc:
            raise Lost(f"the server took nothing for {self._timeout_s:g} s") from exc
        except OSError as exc:
            raise Lost(f"the connection was lost: {exc.strerror or exc}") from exc

    def _reply(self) -> Reply:
        deadline = time.monotonic() + self._timeout_s
        while True:
            line, end, rest = self._held.partition(b"\n")
            if end:
                self._held = rest
                if reply := self._reader.feed(line.removesuffix(b"\r")):
                    return reply
            elif len(line) > LINE_OCTETS:
                raise ProtocolError(f"a line of more than {LINE_OCTETS} octets: {shown(line)}")
            else:
                self._held += self._receive(deadline)

    def _receive(self, deadline: float) -> bytes:
        try:
            self._socket.settimeout(max(deadline - time.monotonic(), 0.001))
            data = self._socket.recv(65536)
        except TimeoutError as exc:
            raise Lost(f"no reply within {self._timeout_s:g} s") from exc
        except OSError as exc:
            raise Lost(f"the connection was lost: {exc.strerror or exc}") from exc
        finally:
            self._socket.settimeout(self._timeout_s)
        if not data:
            raise Lost("the server closed the connection where a reply was due")
        return data


def _groups(lines: list[str], *, pipelining: bool) -> Iterable[list[str]]:
    """Divide commands into what may be sent before a reply is read."""
    group: list[str] = []
    octets = 0
    for line in lines:
        size = len(line.encode()) + 2
        if group and (not pipelining or octets + size > GROUP_OCTETS):
            yield group
            group, octets = [], 0
        group.append(line)
        octets += size
    yield group
