"""The process that shows the metrics: a few lines of HTTP on a unix socket or a loopback port.

The rule: it can do no harm. It only reads, a request is bounded in octets and time, and mail goes on
without it.
"""

import os
import select
import socket
import stat
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from lmtpd.config import Config
from lmtpd.server.attendants import Main
from lmtpd.server.board import Board

PATH = b"/metrics"
REQUEST_OCTETS = 8192
REQUEST_S = 5.0  # for a client to say what it wants, and to take the answer
CLIENTS = 16  # at a time; more wait in the backlog

Answer = Callable[[str], tuple[str, bytes]]  # from an Accept field to content type and body
Expose = Callable[[Config, Board], Answer]

# As in sockaddr_un; a longer path is reached through its directory.
_SOCKET_PATH_OCTETS = 107


def exporter_of(config: Config, board: Board, expose: Expose) -> Main | None:
    """Return what the exporter's process runs; None: it is switched off."""
    address = config.metrics_address
    if address is None:
        return None

    def serve(control: socket.socket) -> int:
        answer = expose(config, board)
        try:
            listening = bind(address, mode=config.metrics.mode)
        except OSError as exc:
            control.send(f"{_shown(address)}: {exc.strerror or exc}".encode())
            return os.EX_CANTCREAT
        with listening:
            serve_metrics(listening, control, answer)
        return os.EX_OK

    return serve


def serve_metrics(listening: socket.socket, control: socket.socket, answer: Answer) -> None:
    """Answer requests until control ends, which means that the supervisor has."""
    room = threading.Semaphore(CLIENTS)
    poll = select.poll()
    for each in (listening, control):
        poll.register(each, select.POLLIN)
    while True:
        ready = [fd for fd, _ in poll.poll()]
        if control.fileno() in ready:
            return
        room.acquire()
        try:
            connection, _ = listening.accept()
        except OSError:
            room.release()
            continue
        threading.Thread(target=_serve, args=(connection, answer, room), daemon=True).start()


def bind(address: str | tuple[str, int], *, mode: int) -> socket.socket:
    """Listen. Raises OSError, EADDRINUSE also where a file that is no socket is in the way."""
    if isinstance(address, tuple):
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        return socket.create_server(address, family=family)
    listening = socket.socket(socket.AF_UNIX)
    before = os.umask(0o777 & ~mode)
    try:
        _remove_stale(address)
        _through_directory(address, listening.bind)
    except OSError:
        listening.close()
        raise
    finally:
        os.umask(before)
    listening.listen()
    return listening


def fetch(address: str | tuple[str, int], *, accept: str, timeout_s: float) -> bytes:
    """Ask an exporter; return the body. Raises OSError if there is none or it says anything but 200."""
    with _connected(address, timeout_s) as connection:
        connection.sendall(b"GET %b HTTP/1.0\r\nAccept: %b\r\n\r\n" % (PATH, accept.encode()))
        answer = b"".join(iter(partial(connection.recv, 65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    status = head.split(b"\r\n")[0].decode(errors="replace")
    if status.split(" ")[1:2] != ["200"]:
        raise OSError(f"the answer was {status!r}")
    return body


def _connected(address: str | tuple[str, int], timeout_s: float) -> socket.socket:
    if isinstance(address, tuple):
        return socket.create_connection(address, timeout_s)
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(timeout_s)
    try:
        _through_directory(address, connection.connect)
    except OSError:
        connection.close()
        raise
    return connection


def _serve(connection: socket.socket, answer: Answer, room: threading.Semaphore) -> None:
    try:
        with connection, suppress(OSError):
            connection.settimeout(REQUEST_S)
            request = b""
            while b"\r\n\r\n" not in request and len(request) < REQUEST_OCTETS:
                data = connection.recv(REQUEST_OCTETS)
                if not data:
                    return
                request += data
            connection.sendall(_response(request, answer))
            connection.shutdown(socket.SHUT_WR)
            connection.recv(1)  # its end: closing over unread input would be a reset
    finally:
        room.release()


def _response(request: bytes, answer: Answer) -> bytes:
    line, *fields = request.split(b"\r\n")
    method, _, rest = line.partition(b" ")
    path = rest.partition(b" ")[0].partition(b"?")[0]
    if method not in (b"GET", b"HEAD"):
        return _http(b"405 Method Not Allowed", "text/plain", b"only GET is allowed\n")
    if path != PATH:
        return _http(b"404 Not Found", "text/plain", b"the metrics are at /metrics\n")
    wanted = [field[7:] for field in fields if field[:7].lower() == b"accept:"]
    content_type, body = answer(b",".join(wanted).decode(errors="replace").strip())
    return _http(b"200 OK", content_type, b"" if method == b"HEAD" else body)


def _http(status: bytes, content_type: str, body: bytes) -> bytes:
    head = b"HTTP/1.1 %b\r\nContent-Type: %b\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
    return head % (status, content_type.encode(), len(body)) + body


def _remove_stale(path: str) -> None:
    """Make way, unless a file that is no socket is there, or somebody serves it."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise FileExistsError(0, "there is a file that is no socket")
        _connected(path, 1.0).close()
    except FileNotFoundError:
        return
    except ConnectionRefusedError:
        os.unlink(path)


def _through_directory(path: str, use: Callable[[str], object]) -> None:
    """Bind or connect to a unix socket, however long its path is."""
    if len(os.fsencode(path)) <= _SOCKET_PATH_OCTETS:
        use(path)
        return
    fd = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        use(f"/proc/self/fd/{fd}/{os.path.basename(path)}")
    finally:
        os.close(fd)


def _shown(address: str | tuple[str, int]) -> str:
    return address if isinstance(address, str) else f"{address[0]}:{address[1]}"
