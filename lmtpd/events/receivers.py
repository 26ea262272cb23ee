"""The three kinds of receivers. Each takes events, in order, within a time, or says why it has not.

What was not said to be taken comes again, so a receiver may get an event twice, with the same id.
"""

import http.client
import json
import os
import pwd
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from threading import Timer
from typing import Protocol
from urllib.parse import urlsplit

ERROR_CHARACTERS = 200  # of what a receiver says of its trouble
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class NotTaken(Exception):
    """Events were not taken, or only the first few."""

    def __init__(self, text: str, *, taken: int = 0) -> None:
        super().__init__(text[:ERROR_CHARACTERS])
        self.taken = taken


class Receiver(Protocol):
    """One of them; used by one thread, but for abandon()."""

    def send(self, events: Sequence[str]) -> None:
        """Hand over events, each a line of JSON; on return all are taken. NotTaken."""

    def abandon(self) -> None:
        """Leave nothing behind of what may be under way; from any thread."""


class Command:
    """A program: one JSON object on each line of its standard input, exit code 0 when it has them."""

    def __init__(self, words: Sequence[str], *, timeout_s: float, user: str | None) -> None:
        """user: whose rights it has; None: ours."""
        self._words = list(words)
        self._timeout_s = timeout_s
        self._user = user
        self._running: subprocess.Popen[bytes] | None = None

    def send(self, events: Sequence[str]) -> None:
        """Run it once; see Receiver."""
        said = os.memfd_create("stderr")
        try:
            code = self._run("".join(f"{event}\n" for event in events).encode(), said)
            if code != 0:
                words = os.pread(said, ERROR_CHARACTERS, 0).decode(errors="replace").split()
                raise NotTaken(" ".join([f"exit code {code}", *words]))
        except OSError as exc:
            raise NotTaken(f"{exc.filename or self._words[0]}: {exc.strerror}") from exc
        except subprocess.TimeoutExpired as exc:
            raise NotTaken(f"no end after {self._timeout_s:g} s") from exc
        finally:
            os.close(said)

    def abandon(self) -> None:
        """Kill it, with what it has started."""
        running = self._running
        if running is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(running.pid, signal.SIGKILL)

    def _run(self, data: bytes, said: int) -> int:
        owner = self._user
        self._running = subprocess.Popen(
            self._words,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=said,
            cwd="/",
            env={"PATH": _PATH, "LANG": "C.UTF-8"},
            process_group=0,
            user=owner,
            group=_group_of(owner),
            extra_groups=None if owner is None else [],
        )
        try:
            self._running.communicate(data, timeout=self._timeout_s)
        finally:
            self.abandon()
            code = self._running.wait()
            self._running = None
        return code


class Socket:
    """A unix stream socket: a line of JSON for each event, and for each a line "ok" when it is taken."""

    def __init__(self, path: str, *, timeout_s: float) -> None:
        self._path = path
        self._timeout_s = timeout_s
        self._connection: socket.socket | None = None
        self._rest = b""

    def send(self, events: Sequence[str]) -> None:
        """Send the events over a connection that is kept; see Receiver."""
        deadline = time.monotonic() + self._timeout_s
        taken = 0
        try:
            connection = self._connected()
            connection.settimeout(self._timeout_s)
            connection.sendall("".join(f"{event}\n" for event in events).encode())
            for _ in events:
                line = self._line(connection, deadline)
                if line.split(b" ")[0] != b"ok":
                    raise NotTaken(f"the answer was {line.decode(errors='replace')!r}", taken=taken)
                taken += 1
        except OSError as exc:
            self.abandon()
            raise NotTaken(f"{self._path}: {exc.strerror or exc}", taken=taken) from exc
        except NotTaken:
            self.abandon()  # what is still unread would answer the next events
            raise

    def abandon(self) -> None:
        """Close the connection."""
        connection, self._connection, self._rest = self._connection, None, b""
        if connection is not None:
            connection.close()

    def _connected(self) -> socket.socket:
        if self._connection is None:
            connection = socket.socket(socket.AF_UNIX)
            connection.settimeout(self._timeout_s)
            try:
                connection.connect(self._path)
            except OSError:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _line(self, connection: socket.socket, deadline: float) -> bytes:
        while b"\n" not in self._rest:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise TimeoutError(f"no answer within {self._timeout_s:g} s")
            connection.settimeout(left_s)
            data = connection.recv(4096)
            if not data or len(self._rest) > 65_536:
                raise ConnectionError("closed without an answer" if not data else "the answer has no end")
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        return line.rstrip(b"\r")


class Webhook:
    """A URL: POST of one JSON object with all events; any 2xx says that they are taken."""

    def __init__(self, url: str, *, timeout_s: float, token_file: Path | None) -> None:
        self._parts = urlsplit(url)
        self._timeout_s = timeout_s
        self._token_file = token_file

    def send(self, events: Sequence[str]) -> None:
        """Post them; see Receiver."""
        body = json.dumps({"version": 1, "events": [json.loads(event) for event in events]}).encode()
        fields = {"Content-Type": "application/json", "User-Agent": "lmtpd"}
        connection: http.client.HTTPConnection | None = None
        # The library's timeout is one for each octet; this one is for all.
        try:
            if self._token_file is not None:
                fields["Authorization"] = f"Bearer {self._token_file.read_text().strip()}"
            connection = self._connect()
            watch = Timer(self._timeout_s, _cut, [connection.sock])
            watch.daemon = True
            watch.start()
            try:
                connection.request("POST", self._target(), body, fields)
                status = connection.getresponse().status
            finally:
                watch.cancel()
        except (OSError, ValueError, http.client.HTTPException) as exc:
            raise NotTaken(getattr(exc, "strerror", None) or str(exc) or type(exc).__name__) from exc
        finally:
            if connection is not None:
                connection.close()
        if not 200 <= status < 300:
            raise NotTaken(f"the answer was {status}")

    def abandon(self) -> None:
        """Nothing outlives the process."""

    def _connect(self) -> http.client.HTTPConnection:
        host = self._parts.hostname or ""
        connection: http.client.HTTPConnection
        if self._parts.scheme == "https":
            context = ssl.create_default_context()
            connection = http.client.HTTPSConnection(
                host, self._parts.port, timeout=self._timeout_s, context=context
            )
        else:
            connection = http.client.HTTPConnection(host, self._parts.port, timeout=self._timeout_s)
        connection.connect()
        return connection

    def _target(self) -> str:
        return (self._parts.path or "/") + (f"?{self._parts.query}" if self._parts.query else "")


def _cut(sock: socket.socket) -> None:
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


def _group_of(user: str | None) -> int | None:
    return None if user is None else pwd.getpwnam(user).pw_gid
