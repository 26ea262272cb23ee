"""Starting a program as systemd does for a socket unit."""

import fcntl
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

_OPEN_AND_BECOME = """
import os, socket, sys
sock = socket.socket(socket.AF_UNIX)
sock.bind(sys.argv[1])
sock.listen()
os.dup2(sock.fileno(), 3)
if sock.fileno() != 3:
    sock.close()
else:
    os.set_inheritable(3, True)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
os.execvp(sys.argv[2], sys.argv[2:])
"""

_BECOME = """
import os, sys
count = int(sys.argv[1])
for place, fd in enumerate(sys.argv[2 : 2 + count]):
    os.dup2(int(fd), 3 + place)
    os.close(int(fd))
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(count)}
os.execvp(sys.argv[2 + count], sys.argv[2 + count:])
"""
_ABOVE = 100  # no descriptor to hand over lies where it is to be put


def activated(path: Path) -> list[str]:
    """Return what to put in front of a command, so that it finds the unix socket open at descriptor 3."""
    return [sys.executable, "-c", _OPEN_AND_BECOME, str(path)]


class HeldSockets:
    """Listening sockets that outlive the servers they are handed to, as those of socket units do.

    Start a server with `wrapper` in front of its command and with `fds` inherited.
    """

    def __init__(self, sockets: Sequence[socket.socket]) -> None:
        self.fds = [fcntl.fcntl(each.fileno(), fcntl.F_DUPFD_CLOEXEC, _ABOVE) for each in sockets]
        self.wrapper = [sys.executable, "-c", _BECOME, str(len(self.fds)), *map(str, self.fds)]

    def close(self) -> None:
        """Give them up: from now on clients are refused."""
        for fd in self.fds:
            os.close(fd)
