"""Sockets from systemd, and notices to it."""

import os
import socket
import subprocess
import sys

import pytest

from lmtpd.server import systemd
from lmtpd.server.listeners import ListenError
from lmtpd.server.systemd import adopt_sockets, notify
from tests.support.activation import activated
from tests.support.requirements import ROOT


@pytest.fixture
def at_first_fd(monkeypatch):
    """Put sockets at descriptors in a row, as systemd does, and say so in an environment."""
    made = []

    def put(*sockets: socket.socket) -> dict[str, str]:
        first = 200  # not 3: that is pytest's in here
        for place, sock in enumerate(sockets):
            os.dup2(sock.fileno(), first + place)
            made.append(first + place)
        monkeypatch.setattr(systemd, "FIRST_FD", first)
        return {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(sockets)), "LISTEN_FDNAMES": "a:b"}

    yield put
    for fd in made:
        try:
            os.close(fd)
        except OSError:
            pass


def test_listening_sockets_are_adopted(tmp_path, at_first_fd):
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(tmp_path / "lmtpd"))
        unix.listen()
        environ = at_first_fd(unix, tcp)

        adopted = adopt_sockets(environ)

        assert [each.is_unix for each in adopted] == [True, False]
        assert str(adopted[0]) == f"unix:{tmp_path}/lmtpd"
        for listening in adopted:
            assert not listening.sock.getblocking()
            assert not listening.sock.get_inheritable()
            assert listening.file is None
            listening.close()
        assert environ == {}  # no child may take them for its own


@pytest.mark.parametrize(
    "environ",
    [{}, {"LISTEN_FDS": "1"}, {"LISTEN_PID": "1", "LISTEN_FDS": "1"}, {"LISTEN_PID": str(os.getpid())}],
)
def test_sockets_of_others_are_not(environ):
    assert adopt_sockets(environ) == []


def test_what_cannot_serve_is_an_error(at_first_fd, tmp_path):
    with socket.socket(socket.AF_INET) as deaf:
        environ = at_first_fd(deaf)
        with pytest.raises(ListenError, match="not a listening stream socket"):
            adopt_sockets(environ)


def test_what_is_no_socket_is_an_error(monkeypatch):
    monkeypatch.setattr(systemd, "FIRST_FD", 4000)

    with pytest.raises(ListenError) as caught:
        adopt_sockets({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"})

    assert caught.value.code == os.EX_OSERR


def test_they_lie_at_descriptor_3(tmp_path):
    program = "import os; from lmtpd.server.systemd import adopt_sockets; print(*adopt_sockets(os.environ))"

    done = subprocess.run(
        [*activated(tmp_path / "lmtpd"), sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )

    assert done.stdout.strip() == f"unix:{tmp_path}/lmtpd"


# -- notices


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_systemd_is_told(tmp_path, kind):
    path = str(tmp_path / "notify") if kind == "path" else f"@lmtpd-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(path.replace("@", "\0"))
        ear.settimeout(5)

        notify({"NOTIFY_SOCKET": path}, "RELOADING=1", "MONOTONIC_USEC=5")

        assert ear.recv(100) == b"RELOADING=1\nMONOTONIC_USEC=5"


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": "/nowhere"}])
def test_nobody_who_listens_is_no_error(environ):
    notify(environ, "READY=1")
