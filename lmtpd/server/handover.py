"""An upgrade without a gap: the program as it is installed now takes over our sockets, beside us.

Both serve the same state directory for a while, as two generations of workers do behind a reload: each
process signs what it has begun, and nobody touches what a living one has begun. The lock is one and the same.

The rule: until the successor serves it changes nothing that is ours. If it fails, we never noticed.
"""

import json
import os
import signal
import socket
import sys
from collections.abc import MutableMapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from lmtpd.config import Config
from lmtpd.server.children import HANDLED, READY, Child
from lmtpd.server.listeners import Listening
from storage.server_lock import ServerLock

VARIABLE = "LMTPD_HANDOVER"
GO = b"go"  # what the successor is told: the metrics' socket and the like are free
GO_S = 2.0


@dataclass(slots=True)
class Handover:
    """What a successor was given."""

    control: socket.socket
    lock: ServerLock
    listeners: list[Listening]
    files: dict[socket.socket, tuple[int, int]]  # of those that we remove at the end
    foreign: frozenset[socket.socket]  # systemd's, whether the configuration names them or not

    def wanted(self, listeners: Sequence[Listening]) -> list[Listening]:
        """Leave out what the former configuration named and this one does not."""
        ours = {each.sock for each in self.listeners} - self.foreign
        return [each for each in listeners if each.configured is not None or each.sock not in ours]

    def take_over(self, listeners: Sequence[Listening]) -> None:
        """Say that we serve; return when the predecessor has let go of what there can be only one of."""
        with suppress(OSError):
            self.control.settimeout(GO_S)
            self.control.send(READY)
            self.control.recv(16)
        self.control.close()
        for each in listeners:
            each.file = each.file or self.files.get(each.sock)
        self.lock.sign()


def received(environ: MutableMapping[str, str]) -> Handover | None:
    """Take what a predecessor has handed over to this process, if one has."""
    text = environ.pop(VARIABLE, "")
    given = json.loads(text) if text else {}
    if given.get("from") != os.getppid():
        return None
    for fd in (given["control"], given["lock"], *(fd for fd, *_ in given["listeners"])):
        os.set_inheritable(fd, False)
    listeners, files, foreign = [], {}, set()
    for fd, file, is_foreign in given["listeners"]:
        sock = socket.socket(fileno=fd)
        sock.setblocking(False)
        listeners.append(Listening(sock, None))
        if file is not None:
            files[sock] = (int(file[0]), int(file[1]))
        if is_foreign:
            foreign.add(sock)
    control, lock = socket.socket(fileno=given["control"]), ServerLock(None, inherited=given["lock"])
    return Handover(control, lock, listeners, files, frozenset(foreign))


def why_not(config: Config) -> str:
    """Say why this server can only be restarted; or nothing."""
    if os.getpid() == 1:
        return "the first process of a container cannot be replaced"
    if config.acts_as_recipients:
        return 'with server.run_as = "recipient" the capabilities of the start are gone'
    return ""


def start_successor(listeners: Sequence[Listening], lock: ServerLock) -> Child:
    """Start the program anew, with our arguments, sockets and lock. OSError if it cannot be run."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    fds = [theirs.fileno(), lock.fileno(), *(each.sock.fileno() for each in listeners)]
    given = {
        "from": os.getpid(),
        "control": theirs.fileno(),
        "lock": lock.fileno(),
        "listeners": [(each.sock.fileno(), each.file, each.configured is None) for each in listeners],
    }
    command = [sys.executable, *sys.orig_argv[1:]]
    environment = {**os.environ, VARIABLE: json.dumps(given)}
    try:
        for fd in fds:
            os.set_inheritable(fd, True)
        pid = os.posix_spawn(
            command[0], command, environment, setsigmask=(), setsigdef=[*HANDLED, signal.SIGPIPE]
        )
    except OSError:
        ours.close()
        raise
    finally:
        for fd in fds:
            os.set_inheritable(fd, False)
        theirs.close()
    return Child(pid, ours)
