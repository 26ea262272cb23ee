"""What a successor is given; the upgrade itself is in tests/system."""

import fcntl
import json
import os
import socket
from pathlib import Path

import pytest

from lmtpd.config import TcpListener
from lmtpd.server.children import READY
from lmtpd.server.handover import GO, VARIABLE, received
from lmtpd.server.listeners import open_listeners
from storage.server_lock import ServerLock, ServerRunning


def test_what_is_meant_for_another_process_is_left_alone():
    environ = {VARIABLE: json.dumps({"from": os.getppid() + 1, "control": 0, "lock": 0, "listeners": []})}

    assert received(environ) is None
    assert environ == {}
    assert received({}) is None


def test_sockets_and_lock_are_taken_over_and_what_is_not_configured_is_left_out(tmp_path: Path):
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    lock = ServerLock(tmp_path / "lock")
    kept, gone, foreign = (socket.create_server(("127.0.0.1", 0)) for _ in range(3))
    port = kept.getsockname()[1]
    lock_fd = os.dup(lock.fileno())
    given = {
        "from": os.getppid(),
        "control": os.dup(theirs.fileno()),
        "lock": lock_fd,
        "listeners": [
            (os.dup(kept.fileno()), [1, 2], False),
            (os.dup(gone.fileno()), None, False),
            (os.dup(foreign.fileno()), None, True),
        ],
    }

    handover = received({VARIABLE: json.dumps(given)})
    assert handover is not None
    wanted = [TcpListener(tcp=f"127.0.0.1:{port}")]
    listeners = handover.wanted(open_listeners(wanted, held=handover.listeners))
    lock.close()
    ours.send(GO)
    handover.take_over(listeners)

    assert {each.sock.getsockname() for each in listeners} == {kept.getsockname(), foreign.getsockname()}
    assert {each.file for each in listeners} == {(1, 2), None}
    assert ours.recv(16) == READY
    assert not any(os.get_inheritable(fd) for fd in (lock_fd, listeners[0].sock.fileno()))
    with pytest.raises(ServerRunning) as caught:
        ServerLock(tmp_path / "lock")
    assert caught.value.pid == os.getpid()
    assert fcntl.fcntl(listeners[0].sock, fcntl.F_GETFL) & os.O_NONBLOCK
    handover.lock.close()
    for each in (ours, theirs, kept, gone, foreign, *(it.sock for it in handover.listeners)):
        each.close()
