"""Receivers of events for tests: a command, a unix socket and an HTTP server that behave as they are told."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

Event = dict[str, Any]  # JSON


def receiver(name: str, how: str, **more: object) -> str:
    lines = [f"{key} = {json.dumps(value)}" for key, value in more.items()]
    return "\n".join(["[[events]]", f'name = "{name}"', how, *lines, ""])


def write_script(folder: Path, *, body: str = "") -> tuple[str, Path]:
    """Make a command that appends what it reads to a file; return how it is configured, and the file."""
    script, out = folder / "on-mail", folder / "events"
    script.write_text(f"#!/bin/sh\n{body}\ncat >>{out}\n")
    script.chmod(0o755)
    return f"command = {json.dumps([str(script)])}", out


def read(out: Path) -> list[Event]:
    return [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []


class SocketReceiver:
    """Takes events on a unix socket; `answer` decides what is said to each, None: nothing."""

    def __init__(self, path: Path, answer: Callable[[Event], bytes | None] = lambda _: b"ok\n") -> None:
        self.events: list[Event] = []
        self._answer = answer
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._connections: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def __enter__(self) -> "SocketReceiver":
        return self

    def __exit__(self, *_: object) -> None:
        for each in (self._listener, *self._connections):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._connections.append(connection)
                threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with suppress(OSError), connection.makefile("rb") as lines:
            for line in lines:
                event = json.loads(line)
                said = self._answer(event)
                if said is not None:
                    if said.startswith(b"ok"):
                        self.events.append(event)
                    connection.sendall(said)
                    if not said.startswith(b"ok"):
                        return


@contextmanager
def web_server(statuses: list[int], hang: threading.Event | None = None) -> Iterator[tuple[str, list[Event]]]:
    """Serve HTTP: the statuses one after the other, the last for all that follow."""
    posts: list[Event] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            posts.append({"authorization": self.headers.get("Authorization"), **body})
            if hang is not None:
                hang.wait(30)
            self.send_response(statuses.pop(0) if len(statuses) > 1 else statuses[0])
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{httpd.server_port}/hook", posts
    finally:
        if hang is not None:
            hang.set()
        httpd.shutdown()
        httpd.server_close()
