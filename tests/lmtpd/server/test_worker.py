"""A worker that runs out of something, and what it does about it."""

import errno
import os
import resource
import signal
import socket
import threading
import time
from contextlib import ExitStack, suppress
from typing import Any

import pytest

from lmtpd.config import Config
from lmtpd.delivery.service import Commit
from lmtpd.server import worker as worker_module
from lmtpd.server.board import Board, Seat
from lmtpd.server.generation import Generation
from lmtpd.server.listeners import Listening
from lmtpd.server.worker import Worker
from tests.support.driving import FakeService
from tests.support.lmtp_client import LmtpClient
from tests.support.polling import wait_for
from tests.support.staged import StagedServer

RCPT = ["you@example.org"]


# -- the whole server


@pytest.mark.system
def test_too_many_connections_are_greeted_and_451_for_each_recipient(tmp_path):
    flags = ["--set", "server.connections=3"]
    with StagedServer(tmp_path, flags=flags) as server, ExitStack() as stack:
        clients = [stack.enter_context(server.client()) for _ in range(4)]

        answers = [client.envelope("me@example.org", RCPT)[0] for client in clients]

        assert [reply.code for reply in answers] == [250, 250, 250, 451]
        assert answers[3].status == "4.3.2"
        assert clients[3].command("DATA").code == 503
        assert clients[3].command("RSET").code == 250

        clients[0].command("RSET")
        clients[0].quit()  # now there is room

        wait_for(lambda: has_room(clients[3]), "room")
        (reply,) = clients[3].deliver("me@example.org", RCPT, b"hi\r\n")
        assert reply.code == 250


def has_room(client: LmtpClient) -> bool:
    room = client.envelope("me@example.org", RCPT)[0].code == 250
    client.command("RSET")
    return room


@pytest.mark.system
def test_without_descriptors_clients_get_421_and_the_rest_is_served(tmp_path):
    limit = ["prlimit", "--nofile=70:70"]
    with StagedServer(tmp_path, flags=["--workers", "1"], wrapper=limit) as server, ExitStack() as stack:
        first = stack.enter_context(server.client())
        codes = []
        while 421 not in codes:
            client = stack.enter_context(server.connect())
            codes.append(client.reply().code)
            assert len(codes) < 100

        assert codes[:-1] == [220] * (len(codes) - 1)
        assert len(codes) > 5
        before = cpu_ticks(server.workers[0])
        stack.enter_context(server.connect()).reply()
        assert cpu_ticks(server.workers[0]) - before < 50  # half a second: no spinning
        assert first.command("NOOP").code == 250
    assert "Traceback" not in server.log


def cpu_ticks(pid: int) -> int:
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        words = file.read().rpartition(")")[2].split()
    return int(words[11]) + int(words[12])


# -- one worker, in this process


@pytest.fixture
def worker(tmp_path):
    """A worker that is not running: its parts are called one by one."""
    config = Config.model_validate({"hostname": "mx.example.org", "state": str(tmp_path)})
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    board = Board()
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    before = threading.stack_size()
    worker = Worker(
        config,
        FakeService(Commit.CHECKED),  # type: ignore[arg-type]  # it has what is used here
        listeners=[Listening(listener, None)],
        tls=None,
        control=theirs,
        seat=Seat(board, board.take_seat()),
    )
    yield worker
    worker._lobby._host += 1  # whoever it is leaves
    threading.stack_size(before)
    for each in (ours, theirs, listener, worker._epoll):
        each.close()
    for fd in (worker._wake, worker._waker, worker._reserve):
        # A thread left by another test in this process may end with its descriptors meanwhile.
        with suppress(OSError):
            os.close(fd)
    worker._drain.close()


@pytest.fixture
def client(worker):
    (listening,) = worker._listeners
    host, port = listening.sock.getsockname()
    with LmtpClient.connect(f"tcp:{host}:{port}") as client:
        yield client


def refusing(number: int):
    def refuse(_):
        raise OSError(number, os.strerror(number))

    return refuse


def test_without_memory_the_client_gets_421(worker, client, monkeypatch):
    def refuse(*_, **__):
        raise MemoryError

    monkeypatch.setattr(worker_module, "Connection", refuse)

    assert not worker._accept(worker._listeners[0])

    assert client.reply().code == 421
    assert worker._seat.connections == 0


def test_without_a_descriptor_the_reserved_one_serves_for_421(worker, client, monkeypatch):
    reserve = worker._reserve
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    held = [os.dup(0)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(held[0], reserve) + 1, hard))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            while True:
                held.append(os.dup(0))

        assert not worker._accept(worker._listeners[0])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for fd in held:
            os.close(fd)

    assert client.reply().code == 421
    assert worker._reserve >= 0


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
def test_without_even_that_the_worker_waits_and_does_not_spin(worker, monkeypatch, number):
    naps: list[float] = []
    monkeypatch.setattr(time, "sleep", naps.append)
    monkeypatch.setattr(socket.socket, "accept", refusing(number))

    assert not worker._accept(worker._listeners[0])

    assert naps == [worker_module.RECOVER_S]


def test_a_client_that_gave_up_in_the_backlog_is_forgotten(worker, monkeypatch):
    monkeypatch.setattr(time, "sleep", None)  # not called
    monkeypatch.setattr(socket.socket, "accept", refusing(errno.ECONNABORTED))

    assert not worker._accept(worker._listeners[0])


def test_no_client_is_no_error(worker):
    assert not worker._accept(worker._listeners[0])


def test_a_bug_in_a_connection_is_reported_and_counted_out(worker, client, monkeypatch):
    def explode(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr(worker_module, "Connection", explode)

    assert worker._accept(worker._listeners[0])

    assert client.rest() == b""
    wait_for(lambda: worker._seat.connections == 0, "the count")
    assert isinstance(worker._service.reporter.bugs[0], ZeroDivisionError)


def test_a_tcp_peer_is_trusted_by_its_address(worker):
    trusting = worker._config.model_copy(
        update={"server": type(worker._config.server).model_validate({"xforward_from": ["192.0.2.0/24"]})}
    )
    worker._config = trusting

    assert worker._peer(("192.0.2.7", 4711), is_unix=False).trusted
    assert not worker._peer(("198.51.100.1", 4711), is_unix=False).trusted
    assert not worker._peer(("fe80::1%eth0", 4711, 0, 2), is_unix=False).trusted
    assert worker._peer("", is_unix=True).trusted


# -- its end


@pytest.fixture
def signals():
    """Let a worker take signals, and give them back."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def quick_end(monkeypatch):
    monkeypatch.setattr(worker_module, "EXIT_S", 0.05)


def test_a_worker_whose_connections_have_ended_says_so(worker, signals, quick_end):
    worker._control.shutdown(socket.SHUT_RD)  # as if the supervisor had ended

    assert worker.run()


def test_a_worker_with_connections_that_hang_ends_all_the_same_and_says_so(worker, signals, quick_end):
    worker._seat.add()
    worker._control.shutdown(socket.SHUT_RD)

    assert not worker.run()

    assert worker._drain.begun


def test_sigterm_drains(worker, signals, quick_end):
    worker._seat.add()
    thread = threading.Thread(target=lambda: os.kill(os.getpid(), signal.SIGTERM))
    begin = worker._seat.open

    def open_and_signal() -> None:
        begin()
        thread.start()

    worker._seat.open = open_and_signal

    assert not worker.run()
    thread.join()


def test_the_service_of_a_worker_with_live_threads_is_not_closed(worker, signals, monkeypatch):
    """It would tell the ledger that nothing of ours is under way any more."""
    closed = []

    class Service(FakeService):
        def close(self) -> None:
            closed.append(self)

    def build(_: Config) -> Any:  # the fake has what is used here
        return Service(Commit.CHECKED)

    for ends_well in (True, False):
        monkeypatch.setattr(Worker, "run", lambda _, ends_well=ends_well: ends_well)
        generation = Generation(worker._config, [], None)

        assert generation._work(worker._seat, build, worker._control) == 0

        assert len(closed) == 1
