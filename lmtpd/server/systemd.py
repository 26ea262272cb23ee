"""What systemd offers a service: its listening sockets (sd_listen_fds(3)) and its ear (sd_notify(3))."""

import os
import socket
from collections.abc import MutableMapping
from contextlib import suppress

from lmtpd.server.listeners import ListenError, Listening

FIRST_FD = 3  # SD_LISTEN_FDS_START


def adopt_sockets(environ: MutableMapping[str, str]) -> list[Listening]:
    """Take the listening sockets that were opened for this process; ListenError if one cannot serve.

    The variables are removed: no child of ours shall take them as its own.
    """
    pid, count = environ.pop("LISTEN_PID", ""), environ.pop("LISTEN_FDS", "")
    environ.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()) or not count.isdigit():
        return []
    return [_adopt(fd) for fd in range(FIRST_FD, FIRST_FD + int(count))]


def _adopt(fd: int) -> Listening:
    try:
        sock = socket.socket(fileno=fd)
        listens = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as exc:
        raise ListenError(f"descriptor {fd} from systemd: {exc.strerror}", os.EX_OSERR) from exc
    if sock.type != socket.SOCK_STREAM or not listens:
        sock.close()
        message = f"descriptor {fd} from systemd is not a listening stream socket (Accept=no, ListenStream=)"
        raise ListenError(message, os.EX_CONFIG)
    sock.set_inheritable(False)
    sock.setblocking(False)
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return Listening(sock, None)


def notify(environ: MutableMapping[str, str], *lines: str) -> None:
    """Tell systemd how the service is, where it asked to be told; never raises."""
    address = environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):  # the abstract namespace
        address = "\0" + address[1:]
    # Whether systemd listens or not, mail goes on.
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.connect(address)
        sock.send("\n".join(lines).encode())
