"""SIGUSR2: another server takes over the sockets beside the one that serves, under load."""

import os
import signal
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from storage.owners import is_running
from tests.support.polling import wait_for
from tests.support.requirements import need
from tests.support.server import Server
from tests.system.test_upgrade import BETWEEN, Client, reached, subjects

pytestmark = [pytest.mark.system, pytest.mark.slow]

UPGRADES = 3
ME = "me@example.org"


def holder(server: Server) -> int:
    """Return the process that is the server, by its lock."""
    text = (server.state / "ledger.db.server").read_text().strip()
    return int(text) if text else 0


def upgrade(server: Server) -> int:
    """Return the new server's process id."""
    old = holder(server)
    os.kill(old, signal.SIGUSR2)
    wait_for(lambda: holder(server) not in (0, old), "another server", deadline_s=60)
    return holder(server)


def end(server: Server) -> None:
    """The server is no child of ours any more."""
    pid = holder(server)
    os.kill(pid, signal.SIGTERM)
    wait_for(lambda: not is_running(pid), "the end of the server", deadline_s=30)
    server.kill()


def test_no_client_is_refused_or_deferred_while_another_server_takes_over(tmp_path: Path):
    with Server(tmp_path, listen=("unix", "tcp")) as server, ExitStack() as stack:
        clients = [
            Client(address, f"user{place}{number}@example.org")
            for place, address in enumerate(server.addresses)
            for number in range(2)
        ]
        for client in clients:
            client.start()
            stack.callback(client.join)
            stack.callback(client.end.set)
        pids = [holder(server)]
        for _ in range(UPGRADES):
            goal = {client: client.accepted + BETWEEN for client in clients}
            wait_for(partial(reached, goal), "messages between two upgrades", deadline_s=60)
            pids.append(upgrade(server))
            wait_for(lambda: not is_running(pids[-2]), "the end of the old server", deadline_s=90)
        goal = {client: client.accepted + BETWEEN for client in clients}
        wait_for(partial(reached, goal), "messages behind the last upgrade", deadline_s=60)
        for client in clients:
            client.end.set()
            client.join()
        end(server)

        assert not list(tmp_path.glob("lmtpd.sock"))

    assert len(set(pids)) == UPGRADES + 1
    for client in clients:
        assert set(client.endings) == {"250"}, client.endings
        found = subjects(server.maildir(client.recipient))
        assert found == sorted(f"Subject: {number}" for number in range(client.accepted))
    assert server.log.count("handed_over") == UPGRADES


def test_a_session_that_is_under_way_ends_with_the_old_server(tmp_path: Path):
    with Server(tmp_path) as server:
        old = holder(server)
        with server.client() as early:
            for command in (f"MAIL FROM:<{ME}>", "RCPT TO:<a@example.org>", "DATA"):
                early.command(command)
            new = upgrade(server)
            with server.client() as late:
                (reply,) = late.deliver(ME, ["b@example.org"], b"late\r\n")
                late.quit()
            assert is_running(old)
            assert reply.code == 250
            early.send(b"early\r\n.\r\n")
            assert early.reply().code == 250
            early.quit()
        wait_for(lambda: not is_running(old), "the end of the old server", deadline_s=60)
        assert is_running(new)
        end(server)

    assert len(list((server.maildir("a@example.org") / "new").iterdir())) == 1


def test_a_server_that_acts_as_recipients_says_why_it_has_to_be_restarted(tmp_path: Path):
    need("root")
    with Server(tmp_path, create=False, config='[server]\nrun_as = "recipient"\n') as server:
        server.signal(signal.SIGUSR2)

        wait_for(lambda: "upgrade_failed" in server.log, "word of the failure")


def test_a_successor_that_cannot_start_changes_nothing(tmp_path: Path):
    with Server(tmp_path, config="hostname = 'mx.example.org'\n") as server:
        old = holder(server)
        (tmp_path / "lmtpd.toml").write_text("hostnam = 'mx.example.org'\n")

        server.signal(signal.SIGUSR2)
        wait_for(lambda: "upgrade_failed" in server.log, "word of the failure", deadline_s=60)

        assert holder(server) == old
        with server.client() as client:
            (reply,) = client.deliver(ME, ["a@example.org"], b"x\r\n")
            client.quit()
        assert reply.code == 250
