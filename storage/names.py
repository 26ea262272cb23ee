"""File names of messages: made unique, read back, and told from other programs' names.

    SECONDS.M<usec>P<pid>Q<n>R<token>.HOST[,S=<octets>,W=<octets with CRLF>][:2,<flags>]

as cr.yp.to/proto/maildir.html and Dovecot have it. The part before ",S=" is the *base*; it is the name in
tmp/. Two names of one process differ in Q, of two processes in the random R, so they are unique whatever
the clock does, also across restarts, machines and equal process ids.
"""

import os
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

# So that a name with sizes and all flags stays below the 255 octets of file systems.
HOST_OCTETS = 100

_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_")

_OURS = re.compile(
    r"(?P<base>[0-9]+\.M[0-9]+P(?P<pid>[0-9]+)Q[0-9]+R(?P<token>[0-9a-f]+)\.(?P<host>[A-Za-z0-9._\\-]+))"
    r"(?:,S=(?P<octets>[0-9]+))?(?:,W=(?P<wire_octets>[0-9]+))?(?::2,(?P<flags>[A-Za-z]*))?"
)
_TOKEN = re.compile(r"[0-9a-f]+")


class NameSource:
    """Makes unique names, for one process. Any thread may call next()."""

    __slots__ = ("_clock", "_count", "_last_usec", "_lock", "_tail")

    def __init__(self, host: str, token: str, *, clock: Callable[[], int] = time.time_ns) -> None:
        """Take the machine's name, the process's random token in hexadecimal, and a clock in ns."""
        if not host or not _TOKEN.fullmatch(token):
            raise ValueError("a host name and a hexadecimal token are needed")
        self._clock = clock
        self._tail = f"R{token}.{escaped_host(host)}"
        self._lock = threading.Lock()
        self._count = 0
        self._last_usec = 0

    def next(self) -> str:
        """Return a base name that was never returned before and sorts behind those that were."""
        with self._lock:
            # A clock that is set back must not make newer messages look older.
            self._last_usec = usec = max(self._clock() // 1000, self._last_usec)
            self._count = count = self._count + 1
        # getpid: a fork may share this object's past, never its names.
        return f"{usec // 1_000_000}.M{usec % 1_000_000:06d}P{os.getpid()}Q{count}{self._tail}"


@dataclass(frozen=True, slots=True)
class Parsed:
    """A name of our pattern, taken apart."""

    base: str  # the name in tmp/: without sizes and flags
    token: str
    pid: int
    host: str  # as it stands in the name, escaped
    octets: int | None  # S=, the size on disk
    wire_octets: int | None  # W=, the size with CRLF
    flags: str | None  # None: no ":2,"


def parse(name: str) -> Parsed | None:
    """Read a file name; None for one that another program made."""
    match = _OURS.fullmatch(name)
    if match is None:
        return None
    return Parsed(
        base=match["base"],
        token=match["token"],
        pid=int(match["pid"]),
        host=match["host"],
        octets=_number(match["octets"]),
        wire_octets=_number(match["wire_octets"]),
        flags=match["flags"],
    )


def with_sizes(base: str, octets: int, wire_octets: int) -> str:
    """Return the final name: mail readers need not open the file to learn its sizes."""
    return f"{base},S={octets},W={wire_octets}"


def base_of(name: str) -> str:
    """Strip the flags that a mail reader has added, ":2,..."; the sizes stay."""
    return name.partition(":")[0]


def escaped_host(host: str) -> str:
    """Write a machine's name as it stands in the names of files."""
    # The slash and the colon as the Maildir page has it; the comma would end the base, and what is not
    # printable ASCII breaks tools. A name that is cut stays unique: the token is random.
    octets = host.encode("utf-8", "surrogateescape")
    pieces = [chr(octet) if chr(octet) in _PLAIN else f"\\{octet:03o}" for octet in octets]
    while sum(map(len, pieces)) > HOST_OCTETS:
        pieces.pop()
    return "".join(pieces)


def _number(text: str | None) -> int | None:
    return None if text is None else int(text)
