"""A server that says what a test wants: bytes in, bytes out, on a unix socket, one connection."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

GREETING = b"220 scripted.example LMTP\r\n"
LHLO = b"250-scripted.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 SIZE 1000000\r\n"


@dataclass(slots=True)
class Scripted:
    """What was heard."""

    address: str
    lines: list[bytes] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    def heard(self, verb: bytes) -> list[bytes]:
        """Return the command lines that begin so."""
        return [line for line in self.lines if line.startswith(verb)]


@contextmanager
def scripted_lmtp(folder: Path, *steps: bytes, lhlo: bytes = LHLO) -> Iterator[Scripted]:
    """Serve one connection: greeting, LHLO, then for each command line one of steps.

    A step of several replies answers a message (b"354 ..." must have come right before). b"" closes the
    connection instead of an answer. Behind the last step QUIT is answered 221, all else 500.
    """
    with socket.socket(socket.AF_UNIX) as listener:
        path = folder / "scripted"
        listener.bind(str(path))
        listener.listen()
        listener.settimeout(10)
        scripted = Scripted(f"unix:{path}")
        thread = threading.Thread(target=_serve, args=(listener, scripted, [lhlo, *steps]))
        thread.start()
        try:
            yield scripted
        finally:
            thread.join(10)


def _serve(listener: socket.socket, scripted: Scripted, steps: list[bytes]) -> None:
    connection, _ = listener.accept()
    with connection, connection.makefile("rb") as stream:
        connection.settimeout(10)
        connection.sendall(GREETING)
        in_data = False
        while True:
            if in_data:
                scripted.bodies.append(_body(stream))
            elif line := stream.readline():
                scripted.lines.append(line.rstrip(b"\r\n"))
            else:
                return
            if steps:
                answer = steps.pop(0)
            else:
                answer = b"221 bye\r\n" if scripted.lines[-1] == b"QUIT" else b"500 unscripted\r\n"
            if not answer:
                return
            connection.sendall(answer)
            in_data = answer.startswith(b"354")


def _body(stream: object) -> bytes:
    body = b""
    while not (body.endswith(b"\r\n.\r\n") or body == b".\r\n"):
        body += stream.readline()  # type: ignore[attr-defined]  # a socket's file
    return body
