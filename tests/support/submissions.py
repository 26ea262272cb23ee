"""Where mail of our own goes in tests: a list, and a small SMTP server that answers as it is told."""

import socket
import threading
from collections.abc import Mapping
from io import BufferedRWPair
from types import TracebackType

from lmtpd.delivery.submission import SubmissionError


class Sent:
    """A submission that keeps what it is given, or fails as long as it is told to."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, bytes]] = []
        self.error: SubmissionError | None = None
        self.attempts = 0

    def send(self, recipient: str, message: bytes) -> None:
        """Take a message."""
        self.attempts += 1
        if self.error is not None:
            raise self.error
        self.messages.append((recipient, message))


class SmtpServer:
    """Serves one connection after the other while the `with` block lasts; answers by verb."""

    def __init__(self, answers: Mapping[str, str] | None = None, *, offers: str = "SMTPUTF8") -> None:
        self._answers = {"EHLO": f"250-test\r\n250 {offers}", "DATA": "354 go on", "QUIT": "221 bye"}
        self._answers |= answers or {}
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self.port: int = self._listener.getsockname()[1]
        self.lines: list[str] = []

    def __enter__(self) -> "SmtpServer":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, connection.makefile("rwb") as stream:
                self._talk(stream)

    def _talk(self, stream: BufferedRWPair) -> None:
        self._say(stream, self._answers.get("connect", "220 test"))
        in_data = False
        for raw in stream:
            line = raw.decode().rstrip("\r\n")
            self.lines.append(line)
            if in_data and line != ".":
                continue
            answer = self._answers.get("." if in_data else line.partition(" ")[0].upper(), "250 ok")
            in_data = line.upper() == "DATA" and answer.startswith("354")
            self._say(stream, answer)

    @staticmethod
    def _say(stream: BufferedRWPair, answer: str) -> None:
        stream.write(answer.encode() + b"\r\n")
        stream.flush()
