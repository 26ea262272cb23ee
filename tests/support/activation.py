"""Starting a program as systemd does for a socket unit."""

import sys
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


def activated(path: Path) -> list[str]:
    """Return what to put in front of a command, so that it finds the unix socket open at descriptor 3."""
    return [sys.executable, "-c", _OPEN_AND_BECOME, str(path)]
