"""The whole server: start, stop, workers that die, and a supervisor that does."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack

import pytest

from tests.support.activation import activated
from tests.support.polling import wait_for
from tests.support.requirements import ROOT
from tests.support.server import Server
from tests.support.staged import StagedServer, accepted, is_zombie

pytestmark = pytest.mark.system


def deliver(server: Server, place: int = 0) -> None:
    with server.client(place) as client:
        (reply,) = client.deliver("me@example.org", ["you@example.org"], b"Subject: hi\r\n\r\nhi\r\n")
        assert reply.code == 250
        client.quit()


# -- start


def test_every_listener_and_every_worker_serves(tmp_path):
    with StagedServer(tmp_path, listen=["unix", "tcp"], flags=["--workers", "3"]) as server:
        deliver(server, 0)
        deliver(server, 1)

        assert len(server.workers) == 3


def test_ready_is_said_when_every_worker_accepts_and_stopping_at_the_end(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(str(tmp_path / "notify"))
        ear.settimeout(10)
        with StagedServer(tmp_path, wrapper=[f"NOTIFY_SOCKET={tmp_path}/notify"]) as server:
            assert ear.recv(100) == b"READY=1"
            assert len(server.workers) == 2
            server.reload()
            assert ear.recv(100).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
            assert ear.recv(100) == b"READY=1"
        assert ear.recv(100) == b"STOPPING=1"


def test_a_socket_of_systemd_is_served_and_stays(tmp_path):
    path = tmp_path / "lmtpd.sock"

    with StagedServer(tmp_path, wrapper=activated(path)) as server:
        deliver(server)

    assert path.is_socket()


def test_a_stale_socket_and_the_lock_of_a_killed_server_are_taken_over(tmp_path):
    with StagedServer(tmp_path) as server:
        deliver(server)
        server.kill()
        assert (tmp_path / "lmtpd.sock").is_socket()

        server.start()

        deliver(server)


def started(*flags: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lmtpd", "serve", *flags]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20, check=False)


def test_a_second_server_on_the_same_state_is_one_line(tmp_path):
    with StagedServer(tmp_path) as server:
        second = started(
            *("--listen", f"unix:{tmp_path}/other", "--state", str(server.state)),
            *("--mailboxes", f"{tmp_path}/mail/{{user}}"),
        )

        assert second.returncode == os.EX_UNAVAILABLE
        assert second.stderr.splitlines()[-1].endswith(f"is held by a running server, process {server.pid}")
        assert not (tmp_path / "other").exists()
        deliver(server)


def test_a_socket_that_cannot_be_bound_is_one_line(tmp_path):
    failed = started(
        *("--listen", f"unix:{tmp_path}/missing/lmtpd", "--state", str(tmp_path / "state")),
        *("--mailboxes", f"{tmp_path}/{{user}}"),
    )

    assert failed.returncode == os.EX_CANTCREAT
    assert failed.stderr.splitlines()[-1].endswith("does not exist")
    assert "Traceback" not in failed.stderr


def test_workers_that_cannot_start_are_one_line_and_nothing_is_left(tmp_path):
    server = StagedServer(tmp_path)
    server.refuse("the moon is full")

    failed = subprocess.run(
        server._wrapper + server._command, cwd=ROOT, capture_output=True, text=True, timeout=20, check=False
    )

    assert failed.returncode == os.EX_TEMPFAIL
    assert failed.stderr.splitlines()[-1] == "lmtpd: the moon is full"
    assert "Traceback" not in failed.stderr
    assert not (tmp_path / "lmtpd.sock").exists()


# -- stop


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_is_quick_orderly_and_complete(tmp_path, number):
    with (
        StagedServer(tmp_path, listen=["unix", "tcp"]) as server,
        server.client(0) as idle,
        server.client(1) as busy,
    ):
        busy.envelope("me@example.org", ["you@example.org"])
        assert busy.command("DATA").code == 354
        workers, start = server.workers, time.monotonic()

        server.signal(number)

        assert idle.reply().code == 421
        busy.send(b"hi\r\n.\r\n")
        assert [reply.code for reply in busy.replies(2)] == [250, 421]
        assert server._running().wait(10) == 0
        assert time.monotonic() - start < 5
        assert all(is_zombie(pid) for pid in workers)
        assert not (tmp_path / "lmtpd.sock").exists()
        server._process = None


def test_a_transaction_that_does_not_end_is_cut_in_time(tmp_path):
    with StagedServer(tmp_path, speed={"worker.DRAIN_S": 0.3}) as server, server.client() as client:
        client.envelope("me@example.org", ["you@example.org"])
        assert client.command("DATA").code == 354

        server.signal(signal.SIGTERM)

        assert client.reply().code == 421
        assert server._running().wait(5) == 0
        server._process = None


def test_a_worker_that_hangs_is_killed_in_time_and_the_end_is_still_in_order(tmp_path):
    with StagedServer(tmp_path, speed={"supervisor.KILL_S": 0.5}) as server:
        stuck = server.workers[0]
        os.kill(stuck, signal.SIGSTOP)

        assert server.stop() == 0

        assert is_zombie(stuck)


def test_workers_end_with_a_supervisor_that_was_killed(tmp_path):
    with StagedServer(tmp_path) as server, server.client() as client:
        workers = server.workers

        os.kill(server.pid, signal.SIGKILL)

        assert client.reply().code == 421
        wait_for(lambda: all(is_zombie(pid) for pid in workers), "the end of the workers")
        server._running().wait(10)
        server.start()
        deliver(server)


# -- workers that die


def test_a_worker_that_was_killed_is_replaced(tmp_path):
    with StagedServer(tmp_path) as server:
        before = server.workers

        os.kill(before[0], signal.SIGKILL)

        wait_for(lambda: len(set(server.workers) - set(before)) == 1, "a new worker")
        server.wait_for_log("worker_died")
        assert "signal 9" in server.log
        for _ in range(4):
            deliver(server)


def test_a_worker_that_was_asked_to_end_drains_and_is_replaced(tmp_path):
    with StagedServer(tmp_path, flags=["--workers", "1"]) as server, server.client() as client:
        (worker,) = server.workers

        os.kill(worker, signal.SIGTERM)

        assert client.reply().code == 421
        wait_for(lambda: server.workers not in ([], [worker]), "a new worker")
        deliver(server)


def test_workers_that_die_at_their_start_are_made_more_and_more_slowly(tmp_path):
    with StagedServer(tmp_path, flags=["--workers", "1"]) as server:
        (worker,) = server.workers
        server.crash()

        os.kill(worker, signal.SIGKILL)
        server.wait_for_log("worker_died", times=4)

        assert server.log.count("exit code 3") < 8  # a second has passed at most, and they live for moments
        server.recover()
        wait_for(lambda: server.workers, "a new worker")
        deliver(server)


def test_the_work_of_a_killed_worker_is_settled(tmp_path):
    """What it had staged is gone from tmp/, and the client's retry is delivered once."""
    with StagedServer(tmp_path, flags=["--workers", "1"]) as server, server.client() as client:
        deliver(server)
        (worker,) = server.workers
        client.envelope("me@example.org", ["you@example.org"])
        assert client.command("DATA").code == 354
        client.send(b"x" * 300_000 + b"\r\n")
        wait_for(lambda: list((server.maildir("you@example.org") / "tmp").iterdir()), "the spooled body")

        os.kill(worker, signal.SIGKILL)

        assert client.rest() == b""
        wait_for(lambda: server.workers not in ([], [worker]), "a new worker")
        with server.client() as again:
            (reply,) = again.deliver("me@example.org", ["you@example.org"], b"x" * 300_000 + b"\r\n")
        assert reply.code == 250
        assert not list((server.maildir("you@example.org") / "tmp").iterdir())
        assert len(list((server.maildir("you@example.org") / "new").iterdir())) == 2


def test_clients_are_shared_out_evenly(tmp_path):
    with StagedServer(tmp_path) as server, ExitStack() as clients:
        for _ in range(20):
            clients.enter_context(server.client())

        counts = [accepted(pid, tmp_path) for pid in server.workers]

        assert sum(counts) == 20
        assert min(counts) >= 8
