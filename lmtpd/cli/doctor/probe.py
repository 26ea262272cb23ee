"""A conversation with the server as Postfix would have it, up to RCPT: no message is left."""

import json
import os
import pwd
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where to connect, and as whom."""

    path: str = ""  # of a unix socket, as seen from root
    root: str = ""  # the chroot of Postfix's client, if it has one
    address: tuple[str, int] | None = None
    user: str = ""  # "": as we are


@dataclass(slots=True)
class Heard:
    """What came of it."""

    error: int = 0  # errno, where the connection could not be had or broke
    replies: dict[str, str] = field(default_factory=dict)  # by verb; "" is the greeting
    offers: dict[str, str] = field(default_factory=dict)  # keywords of LHLO with their parameters


def probe(place: Place, *, hostname: str, recipient: str) -> Heard:
    """Talk to the server in a process of its own, which may become another user."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        _tell(writer, place, hostname, recipient)
    os.close(writer)
    with open(reader, "rb") as pipe:
        told = pipe.read()
    os.waitpid(pid, 0)
    return Heard(**json.loads(told)) if told else Heard(error=-1)


def _tell(writer: int, place: Place, hostname: str, recipient: str) -> None:
    """Be the child; never returns."""
    try:
        heard = Heard()
        try:
            with _connect(place) as connection:
                _talk(connection, heard, hostname, recipient)
        except OSError as exc:
            heard.error = exc.errno or -1
        told = {"error": heard.error, "replies": heard.replies, "offers": heard.offers}
        os.write(writer, json.dumps(told).encode())
    finally:
        os._exit(0)


def _connect(place: Place) -> socket.socket:
    if place.user:
        entry = pwd.getpwnam(place.user)
        if place.root:
            os.chroot(place.root)
            os.chdir("/")
        os.initgroups(entry.pw_name, entry.pw_gid)
        os.setresgid(entry.pw_gid, entry.pw_gid, entry.pw_gid)
        os.setresuid(entry.pw_uid, entry.pw_uid, entry.pw_uid)
    if place.address is not None:
        return socket.create_connection(place.address, TIMEOUT_S)
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(TIMEOUT_S)
    connection.connect(place.path)
    return connection


def _talk(connection: socket.socket, heard: Heard, hostname: str, recipient: str) -> None:
    with connection.makefile("rb") as lines:
        replies = _replies(lines)
        heard.replies[""] = next(replies, "")
        for line in (f"LHLO {hostname}", "MAIL FROM:<>", f"RCPT TO:<{recipient}>", "RSET", "QUIT"):
            if not heard.replies[""].startswith("220"):
                return
            connection.sendall(f"{line}\r\n".encode())
            verb, reply = line[:4], next(replies, "")
            heard.replies[verb] = reply
            if verb == "LHLO":
                offered = [each[4:].split(" ", 1) for each in reply.split("\n")[1:]]
                heard.offers = {keyword.upper(): "".join(rest) for keyword, *rest in offered}
                if not reply.startswith("250"):
                    return


def _replies(lines: Iterable[bytes]) -> Iterator[str]:
    """Yield replies, their lines with LF between them."""
    reply: list[str] = []
    for line in lines:
        reply.append(line.decode(errors="replace").rstrip("\r\n"))
        if line[3:4] != b"-":
            yield "\n".join(reply)
            reply = []
