"""Slow, idle, never-reading and flooding clients: beside all of them deliveries go on."""

import resource
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from tests.support.lmtp_client import ConnectionEnded, LmtpClient
from tests.support.server import Server

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.serial]

IDLE = 5000
MEGABYTE = 1 << 20
BODY = b"Subject: among the hostile\r\n\r\nhello\r\n"


def delivers(server: Server, times: int = 5) -> None:
    """Assert that an honest client is served, within its usual patience."""
    for _ in range(times):
        with server.client(timeout_s=10) as client:
            assert [reply.code for reply in client.deliver("s@example.org", ["a@example.org"], BODY)] == [250]
            client.quit()


@contextmanager
def many_descriptors(count: int) -> Iterator[int]:
    """Raise our soft limit as far as it goes; yield how many connections that allows, at most `count`.

    Half of the hard limit: the server, which has the same limit, wants more than one for each.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        yield min(count, hard // 2 - 100)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def worker_of(server: Server) -> int:
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text(encoding="ascii")
    return int(children.split()[0])


def resident_octets(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()


def _is_served(server: Server) -> bool:
    with server.client(timeout_s=10) as client:
        return client.envelope("s@example.org", ["a@example.org"])[0].code == 250


def _connect_patiently(server: Server) -> LmtpClient:
    """A socket with a timeout does not wait for a place in the kernel's queue."""
    give_up = time.monotonic() + 20
    while True:
        try:
            return server.connect(timeout_s=20)
        except BlockingIOError:
            if time.monotonic() > give_up:
                raise
            time.sleep(0.01)


def test_idle_connections_by_the_thousand(folder_in_memory: Path):
    flags = ["--set", f"server.connections={IDLE + 500}"]
    with many_descriptors(IDLE) as count, Server(folder_in_memory, flags=flags) as server:
        with ExitStack() as idle:
            for _ in range(count):
                client = idle.enter_context(_connect_patiently(server))
                assert client.reply().code == 220  # so it has been accepted
            delivers(server)
        delivers(server)


def test_a_flood_beyond_the_limit_is_deferred_and_passes(folder_in_memory: Path):
    flags = ["--workers", "1", "--set", "server.connections=20"]
    with Server(folder_in_memory, flags=flags) as server:
        with ExitStack() as flood:
            for _ in range(100):
                flood.enter_context(server.connect())
            # Whoever is too many is told so, or waits in the kernel's queue: nobody is accepted and lost.
            with server.connect(timeout_s=1) as client, suppress(TimeoutError, ConnectionEnded):
                first = client.reply()
                if first.code == 220:
                    client.lhlo()
                    first = client.envelope("s@example.org", ["a@example.org"])[0]
                assert first.code in (421, 451)
        give_up = time.monotonic() + 10
        while not _is_served(server):
            assert time.monotonic() < give_up
        delivers(server)


@pytest.mark.parametrize("piece", [b"N", b"MAIL FROM:<", b""])
def test_clients_that_say_half_a_command_are_timed_out(folder_in_memory: Path, piece: bytes):
    flags = ["--workers", "1", "--set", "limits.idle_s=1"]
    with Server(folder_in_memory, flags=flags) as server, ExitStack() as slow:
        clients = [slow.enter_context(server.client()) for _ in range(20)]
        for client in clients:
            client.send(piece)

        delivers(server)

        assert {client.reply().code for client in clients} == {421}


def test_clients_that_trickle_a_message_hold_nobody_up(server: Server):
    with ExitStack() as slow:
        clients = [slow.enter_context(server.client()) for _ in range(20)]
        for client in clients:
            client.commands(b"MAIL FROM:<s@example.org>", b"RCPT TO:<a@example.org>", b"DATA")
        for octet in range(30):
            for client in clients:
                client.send(b"x")
            if octet % 10 == 0:
                delivers(server, 1)


def test_clients_that_never_read_fill_no_memory(server: Server):
    delivers(server)
    worker, before = worker_of(server), resident_octets(worker_of(server))
    with ExitStack() as deaf:
        for _ in range(10):
            client = deaf.enter_context(server.client())
            client.socket.setblocking(False)
            try:
                for _ in range(2000):
                    client.send(b"HELP\r\n" * 1000)  # the answers are ten times as long
            except BlockingIOError:
                pass
        delivers(server)
        assert resident_octets(worker) - before < 30 * MEGABYTE


def test_a_line_without_end_fills_no_memory(server: Server):
    delivers(server)
    worker, before = worker_of(server), resident_octets(worker_of(server))
    with server.client() as client:
        for _ in range(64):
            client.send(b"x" * MEGABYTE)
        assert resident_octets(worker) - before < 20 * MEGABYTE
        client.send(b"\r\n")
        assert client.reply().code == 500
        assert client.command("NOOP").code == 250


def test_a_thousand_recipients_get_a_reply_each(server: Server):
    recipients = [f"r{number}@many.example.org" for number in range(1000)]
    with server.client() as client:
        verdicts = client.deliver("s@example.org", recipients, BODY)

    codes = [reply.code for reply in verdicts]
    accepted = codes.count(250)
    assert accepted >= 100  # RFC 5321 4.5.3.1.8
    assert set(codes[accepted:]) <= {452}
    assert len(list((server.mail / "many.example.org").iterdir())) == accepted


def test_clients_that_hang_up_at_once_by_the_thousand(server: Server):
    for number in range(1000):
        client = LmtpClient.connect(server.addresses[0])
        if number % 2:
            client.send(b"LHLO x\r\nMAIL FROM:<")
        client.reset()
    delivers(server)
