"""The few lines of HTTP that show the metrics."""

import os
import socket
import stat
import threading
import urllib.request
from contextlib import contextmanager

import pytest

from lmtpd.server import exporter
from lmtpd.server.exporter import bind, fetch, serve_metrics


def answer(accept):
    return "text/x", f"asked for {accept}\n".encode()


@contextmanager
def serving(address):
    ours, theirs = socket.socketpair()
    with bind(address, mode=0o640) as listening, ours, theirs:
        thread = threading.Thread(target=serve_metrics, args=(listening, theirs, answer))
        thread.start()
        try:
            yield listening
        finally:
            ours.close()
            thread.join(10)
            assert not thread.is_alive()


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "metrics.sock")


def ask(path, request):
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(path)
        client.sendall(request)
        client.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: client.recv(65536), b""))


def test_figures_are_fetched(path):
    with serving(path):
        assert fetch(path, accept="a/b", timeout_s=10) == b"asked for a/b\n"
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o640


def test_http_client_understands_it():
    with serving(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/metrics?x=1"
        request = urllib.request.Request(url, headers={"Accept": "c/d"})
        with urllib.request.urlopen(request, timeout=10) as response:
            assert response.headers["Content-Type"] == "text/x"
            assert response.read() == b"asked for c/d\n"


def test_port_can_be_fetched_from():
    with serving(("127.0.0.1", 0)) as listening:
        assert fetch(listening.getsockname()[:2], accept="", timeout_s=10) == b"asked for \n"


@pytest.mark.parametrize(
    "request_, status",
    [
        (b"GET /metrics HTTP/1.1\r\n\r\n", b"200 OK"),
        (b"HEAD /metrics HTTP/1.1\r\n\r\n", b"200 OK"),
        (b"GET / HTTP/1.1\r\n\r\n", b"404 Not Found"),
        (b"POST /metrics HTTP/1.1\r\n\r\n", b"405 Method Not Allowed"),
        (b"\0\xff\r\n\r\n", b"405 Method Not Allowed"),
        (b"x" * exporter.REQUEST_OCTETS, b"405 Method Not Allowed"),
    ],
)
def test_anything_else_gets_an_answer_too(path, request_, status):
    with serving(path):
        head, _, body = ask(path, request_).partition(b"\r\n\r\n")

    assert head.split(b"\r\n")[0] == b"HTTP/1.1 " + status
    assert (body == b"") == request_.startswith(b"HEAD")


def test_half_a_request_is_no_request(path):
    with serving(path):
        assert ask(path, b"GET /metrics HTTP/1.1\r\n") == b""


def test_client_that_says_nothing_holds_up_nobody(path, monkeypatch):
    monkeypatch.setattr(exporter, "REQUEST_S", 0.2)
    with serving(path), socket.socket(socket.AF_UNIX) as silent:
        silent.connect(path)

        assert fetch(path, accept="", timeout_s=10)
        silent.settimeout(10)
        assert silent.recv(1) == b""


def test_many_silent_clients_leave_room_in_time(path, monkeypatch):
    monkeypatch.setattr(exporter, "REQUEST_S", 0.2)
    clients = [socket.socket(socket.AF_UNIX) for _ in range(exporter.CLIENTS)]
    try:
        with serving(path):
            for client in clients:
                client.connect(path)

            assert fetch(path, accept="", timeout_s=10)
    finally:
        for client in clients:
            client.close()


def test_stale_socket_is_taken_over(path):
    bind(path, mode=0o600).close()

    with serving(path):
        assert fetch(path, accept="", timeout_s=10)


def test_socket_that_is_served_is_not(path):
    with serving(path), pytest.raises(OSError, match="in use"):
        bind(path, mode=0o600)


def test_file_that_is_no_socket_is_left_alone(tmp_path, path):
    (tmp_path / "metrics.sock").write_text("mine")

    with pytest.raises(OSError, match="no socket"):
        bind(path, mode=0o600)

    assert (tmp_path / "metrics.sock").read_text() == "mine"


def test_long_path_is_no_hindrance(tmp_path):
    directory = tmp_path / ("d" * 100) / ("e" * 100)
    directory.mkdir(parents=True)
    path = str(directory / "metrics.sock")

    with serving(path):
        assert fetch(path, accept="x/y", timeout_s=10) == b"asked for x/y\n"


def test_nobody_there(path):
    with pytest.raises(FileNotFoundError):
        fetch(path, accept="", timeout_s=1)


def test_other_answers_are_errors(path):
    with serving(path), pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporter, "_response", lambda request, answer: b"HTTP/1.1 500 x\r\n\r\n")

        with pytest.raises(OSError, match="500 x"):
            fetch(path, accept="", timeout_s=10)
