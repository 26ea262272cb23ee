"""SIGHUP and a changed file: new workers with the new configuration, no connection refused or cut."""

import os
import signal
import stat
import threading
from pathlib import Path

import pytest

from tests.support.lmtp_client import LmtpClient
from tests.support.polling import wait_for
from tests.support.staged import StagedServer, is_zombie

pytestmark = pytest.mark.system


def unix(path: Path, more: str = "") -> str:
    return f'[[listen]]\nunix = "{path}"\n{more}\n'


def toml(tmp_path: Path, *, octets: int = 1_000_000, names: tuple[str, ...] = ("a",), more: str = "") -> str:
    listeners = "".join(unix(tmp_path / name, more) for name in names)
    return f"{listeners}[limits]\nmessage_octets = {octets}\n"


@pytest.fixture
def server(tmp_path):
    # With no file to watch in the way: these tests send SIGHUP themselves.
    speed = {"worker.RETIRE_S": 60.0, "watcher.LOOK_S": 600.0, "watcher.QUIET_S": 600.0}
    with StagedServer(tmp_path, listen=[], config=toml(tmp_path), speed=speed) as server:
        yield server


def write(server: StagedServer, text: str) -> None:
    (server.folder / "lmtpd.toml").write_text(text)


def size(client: LmtpClient) -> int:
    return int(client.capabilities["SIZE"])


def deliver(client: LmtpClient) -> None:
    (reply,) = client.deliver("me@example.org", ["you@example.org"], b"Subject: hi\r\n\r\nhi\r\n")
    assert reply.code == 250


def test_new_connections_meet_the_new_configuration_and_old_ones_go_on(server, tmp_path):
    before = server.workers
    with server.client() as old:
        old.envelope("me@example.org", ["you@example.org"])
        write(server, toml(tmp_path, octets=2_000_000))

        server.reload()

        with server.client() as new:
            assert (size(old), size(new)) == (1_000_000, 2_000_000)
            deliver(new)
        assert old.command("DATA").code == 354
        old.send(b"hi\r\n.\r\n")
        assert old.reply().code == 250
        assert old.lhlo()["SIZE"] == "1000000"
        deliver(old)
        assert not set(server.workers) & set(before)
        old.quit()
    wait_for(lambda: all(is_zombie(pid) for pid in before), "the end of the old workers")


def test_idle_connections_to_an_old_worker_end_after_a_while(tmp_path):
    speed = {"worker.RETIRE_S": 0.3, "watcher.QUIET_S": 600}
    with StagedServer(tmp_path, listen=[], config=toml(tmp_path), speed=speed) as server:
        with server.client() as idle, server.client() as busy:
            busy.envelope("me@example.org", ["you@example.org"])
            assert busy.command("DATA").code == 354
            before = server.workers
            server.reload()

            assert idle.reply().code == 421
            assert busy.surplus() == b""
            busy.send(b"hi\r\n.\r\n")
            assert [reply.code for reply in busy.replies(2)] == [250, 421]
        wait_for(lambda: all(is_zombie(pid) for pid in before), "the end of the old workers")


def test_no_connection_is_refused_meanwhile(server):
    stop, served, errors = threading.Event(), [], []

    def connect() -> None:
        while not stop.is_set():
            try:
                with server.client() as client:
                    deliver(client)
                    client.quit()
                served.append(1)
            except Exception as exc:  # noqa: BLE001 - the test looks at it
                errors.append(exc)

    threads = [threading.Thread(target=connect) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(6):
        server.reload()
    stop.set()
    for thread in threads:
        thread.join()

    assert not errors
    assert len(served) > 20


def test_listeners_come_and_go(server, tmp_path):
    (tmp_path / "b").mkdir()
    write(server, toml(tmp_path, names=("a", "b/new")))
    server.reload()
    server.addresses.append(f"unix:{tmp_path}/b/new")
    for place in (0, 1):
        with server.client(place) as client:
            deliver(client)

    write(server, toml(tmp_path, names=("b/new",)))
    with server.client(0) as old:
        server.reload()
        deliver(old)
    with server.client(1) as client:
        deliver(client)

    assert not (tmp_path / "a").exists()
    with pytest.raises(FileNotFoundError):
        server.client(0)


def test_a_removed_tcp_listener_refuses_at_once(tmp_path):
    with StagedServer(
        tmp_path, listen=["tcp"], config=toml(tmp_path), speed={"watcher.QUIET_S": 600}
    ) as server:
        # Flags replace the listeners of the file, so only the TCP one is there.
        assert not (tmp_path / "a").exists()
        with server.client(0) as client:
            server.reload()
            deliver(client)
        with server.client(0) as client:
            deliver(client)
        server.addresses.pop()  # of the file


def test_a_new_mode_applies(server, tmp_path):
    write(server, toml(tmp_path, more='mode = "0600"'))

    server.reload()

    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "text, words",
    [
        ("[limits]\nmessage_octets = 'many'\n", "limits.message_octets"),
        ("this is not TOML", "lmtpd.toml"),
        (unix(Path("/nowhere/at/all/x")), "/nowhere/at/all does not exist"),
        ("[ledger]\nurl = 'sqlite:////tmp/other.db'\n", "ledger.url changes with a restart only"),
    ],
)
def test_the_last_good_configuration_stays(server, tmp_path, text, words):
    before = server.workers
    write(server, text if "[[listen]]" in text else unix(tmp_path / "a") + text)

    server.reload()

    server.wait_for_log("reload_failed")
    assert words in server.log
    assert server.workers == before
    with server.client() as client:
        assert size(client) == 1_000_000
        deliver(client)


def test_workers_that_cannot_start_leave_the_old_ones_in_place(server, tmp_path):
    before = server.workers
    write(server, toml(tmp_path, names=("a", "b")))
    server.refuse("the moon is full")

    server.reload()

    server.wait_for_log("the moon is full")
    assert server.workers == before
    wait_for(lambda: not (tmp_path / "b").exists(), "the removal of the new listener")
    with server.client() as client:
        deliver(client)
    server.recover()
    server.reload()
    server.wait_for_log(" reloaded ")


def test_many_reloads_leave_one_generation(server):
    first = server.workers
    for _ in range(3):
        server.signal(signal.SIGHUP)
    server.wait_for_log(" reloaded ")

    wait_for(lambda: len(server.workers) == 2 and not set(server.workers) & set(first), "one generation")
    with server.client() as client:
        deliver(client)


def test_a_stop_in_the_middle_of_a_reload_is_a_stop(server):
    server.signal(signal.SIGHUP)

    assert server.stop() == 0


def test_a_changed_file_is_a_reload(tmp_path):
    config = toml(tmp_path)
    with StagedServer(tmp_path, listen=[], config=config, speed={"watcher.QUIET_S": 0.05}) as server:

        def is_new() -> bool:
            with server.client() as client:
                return size(client) == 2_000_000

        new = tmp_path / "lmtpd.toml~"
        number = iter(range(1000))

        def rewrite() -> bool:
            # The watcher may start only just now: a later change is noticed in any case.
            new.write_text(f"{toml(tmp_path, octets=2_000_000)}# {next(number)}\n")
            new.rename(tmp_path / "lmtpd.toml")
            return is_new()

        wait_for(rewrite, "the new configuration", every_s=0.3)
        server.wait_for_log(" reloaded ")


def test_a_watcher_that_died_is_replaced(tmp_path):
    speed = {"attendants.PAUSE_S": 0.1}
    with StagedServer(tmp_path, listen=[], config=toml(tmp_path), speed=speed) as server:
        (watcher,) = wait_for(server.watchers, "the watcher")

        os.kill(watcher, signal.SIGKILL)

        wait_for(lambda: server.watchers() not in ([], [watcher]), "another one")
        server.wait_for_log("watcher_died")
