"""A socketmap server with answers by heart, and with ways to misbehave."""

import socketserver
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path


class SocketmapServer(socketserver.ThreadingUnixStreamServer):
    """Answers netstrings from a table; what is not in it is NOTFOUND."""

    daemon_threads = True
    request_queue_size = 50

    def __init__(self, path: Path, answers: Mapping[str, str | bytes]) -> None:
        """answers: question -> answer; bytes go out as they are, and the connection is closed behind them."""
        super().__init__(str(path), _Handler)
        self.path = path
        self.answers = answers
        self.asked: list[str] = []
        self.connections = 0


class _Handler(socketserver.StreamRequestHandler):
    server: SocketmapServer

    def handle(self) -> None:
        self.server.connections += 1
        while question := self._question():
            self.server.asked.append(question)
            answer = self.server.answers.get(question, "NOTFOUND ")
            if isinstance(answer, bytes):
                self.wfile.write(answer)
                return
            octets = answer.encode()
            self.wfile.write(b"%d:%b," % (len(octets), octets))

    def _question(self) -> str:
        length = b""
        while (octet := self.rfile.read(1)) not in (b":", b""):
            length += octet
        return self.rfile.read(int(length) + 1)[:-1].decode() if length else ""


@contextmanager
def socketmap_server(path: Path, answers: Mapping[str, str | bytes]) -> Iterator[SocketmapServer]:
    """Run it in a thread."""
    with SocketmapServer(path, answers) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
