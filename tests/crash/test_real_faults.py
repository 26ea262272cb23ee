"""Faults that no test pretends: limits, full file systems, and a ledger that others lock, break or take away.

While the fault lasts the answer is 4xx; when it is gone the same server goes on, and the oracle counts.
"""

import fcntl
import os
import resource
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.crash.account import Account, Sent
from tests.crash.books import check_ledger
from tests.crash.client import Behind, Client, settle
from tests.crash.oracle import Mailboxes, check
from tests.support.requirements import need
from tests.support.server import Server

pytestmark = [pytest.mark.crash, pytest.mark.slow, pytest.mark.system]

A, B = "a@example.org", "b@example.org"


class Trial:
    """A running server, a client and its account; leaving the block settles, stops and judges."""

    def __init__(self, folder: Path, **how: Path) -> None:
        self.server = Server(folder, flags=["--workers", "1"])
        self.server.mail = how.get("mail", self.server.mail)
        self.account = Account()
        self.client = Client(self.server.addresses[0])
        self.crashed = False

    def send(self, *recipients: str, octets: int = 4096) -> Sent:
        sent = self.account.compose(*recipients, octets=octets)
        self.again(sent)
        return sent

    def again(self, sent: Sent) -> list[list[int | None]]:
        """One attempt on a connection of its own."""
        self.client.send(sent, Behind.RSET)
        self.client.quit()
        return [sent.replies_to(place) for place in range(len(sent.recipients))]


@contextmanager
def trial(folder: Path, *, ledger: bool = True) -> Iterator[Trial]:
    trial = Trial(folder)
    with trial.server:
        assert trial.again(trial.account.compose(A, B)) == [[250], [250]]
        yield trial
        settle(trial.client, trial.account)
        trial.client.quit()
    books = check_ledger(trial.server.state / "ledger.db") if ledger else None
    assert check(trial.account, Mailboxes(root=trial.server.mail), settled=True, ledger=books) == []


@contextmanager
def small_tmpfs(folder: Path, options: str) -> Iterator[None]:
    need("root", "mount", "umount")
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"{options},mode=700", "tmpfs", folder], check=False, timeout=20
    )
    if done.returncode:
        pytest.skip("mounting a tmpfs is not allowed here")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True, timeout=20)


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        while True:
            file.write(b"x" * 4096)


def _processes(server: Server) -> list[int]:
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text(encoding="ascii").split()
    return [server.pid, *map(int, children)]


# ---- mailboxes --------------------------------------------------------------------------------------


def test_a_file_size_limit_cuts_a_write_short_and_defers_the_message(folder_in_memory: Path):
    with trial(folder_in_memory) as play:
        for pid in _processes(play.server):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
        large = play.send(A, B, octets=300_000)
        small = play.send(A, B)
        assert play.again(large) == [[451, 451]] * 2
        assert [small.replies_to(place) for place in (0, 1)] == [[250]] * 2

        for pid in _processes(play.server):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

        assert play.again(large) == [[451, 451, 250]] * 2


@pytest.mark.parametrize("options", ["size=1m", "size=8m,nr_inodes=40"], ids=["no blocks", "no inodes"])
def test_a_full_file_system_is_452_for_whose_mailbox_lies_on_it(folder_in_memory: Path, options: str):
    full = folder_in_memory / "mail/full.example.org"
    full.mkdir(parents=True)
    with small_tmpfs(full, options), trial(folder_in_memory) as play:
        victim = "v@full.example.org"
        assert play.again(play.account.compose(victim, A)) == [[250], [250]]
        if "inodes" in options:
            with pytest.raises(OSError, match="No space left"):
                for number in range(100):
                    (full / f"ballast{number}").touch()
        else:
            _fill(full / "ballast")

        sent = play.send(victim, A, octets=40_000)
        assert play.again(sent) == [[452, 452], [250]]
        assert play.again(play.account.compose("first-contact@full.example.org", A)) == [[452], [250]]
        for path in full.glob("ballast*"):
            path.unlink()

        assert play.again(sent) == [[452, 452, 250], [250]]


# ---- the ledger -------------------------------------------------------------------------------------


def test_a_full_ledger_defers_everybody(folder_in_memory: Path):
    state = folder_in_memory / "state"
    state.mkdir()
    with small_tmpfs(state, "size=1m"), trial(folder_in_memory) as play:
        _fill(state / "ballast")
        answers: list[int | None] = []
        for _ in range(200):  # what its log has room for is still recorded
            answers += play.send(A, octets=200).replies_to(0)
            if answers[-1] != 250:
                break
        assert answers[-1] == 451, answers
        (state / "ballast").unlink()

        assert play.again(play.account.sent[-1]) == [[451, 250]]


def test_a_ledger_locked_by_a_foreign_writer_defers_everybody(folder_in_memory: Path):
    path = folder_in_memory / "state/ledger.db"
    with trial(folder_in_memory) as play, closing(sqlite3.connect(path, isolation_level=None)) as foreign:
        foreign.execute("BEGIN IMMEDIATE")
        sent = play.send(A, B)
        assert [sent.replies_to(place) for place in (0, 1)] == [[451]] * 2
        foreign.execute("ROLLBACK")

        assert play.again(sent) == [[451, 250]] * 2


def test_a_turn_that_is_held_up_only_delays(folder_in_memory: Path):
    with trial(folder_in_memory) as play:
        (lock,) = play.server.state.glob("ledger.db*lock")
        with lock.open("rb") as foreign, play.server.client() as client:
            fcntl.flock(foreign, fcntl.LOCK_EX)
            assert client.envelope("x@example.org", ["elsewhere@other.example"])[0].code == 250
            client.command("DATA")
            client.send(b"Subject: x\r\n\r\n.\r\n")
            assert client.surplus(wait_s=0.3) == b""
            with play.server.client() as other:  # nobody else is held up
                assert other.command("NOOP").code == 250

            fcntl.flock(foreign, fcntl.LOCK_UN)

            assert client.reply().code == 250
            client.quit()
        shutil.rmtree(play.server.mail / "other.example")


def test_a_read_only_ledger_defers_everybody(folder_in_memory: Path):
    need("root", "mount", "umount")
    with trial(folder_in_memory) as play:
        path = play.server.state / "ledger.db"
        assert play.server.stop() == 0
        for options in (["--bind", str(path), str(path)], ["-o", "remount,bind,ro", str(path)]):
            if subprocess.run(["mount", *options], check=False, timeout=20).returncode:
                pytest.skip("bind mounts are not allowed here")
        try:
            play.server.start()
            sent = play.send(A, B)
            assert play.again(sent) == [[451, 451]] * 2
        finally:
            subprocess.run(["umount", "-l", path], check=True, timeout=20)

        assert play.again(sent) == [[451, 451, 250]] * 2


def test_a_ledger_deleted_at_run_time_is_made_anew(folder_in_memory: Path):
    with trial(folder_in_memory) as play:
        for path in play.server.state.glob("ledger.db*"):
            path.unlink()

        sent = play.send(A, B)

        assert play.again(sent)[0][-1] == 250
        assert (play.server.state / "ledger.db").exists()


@pytest.mark.parametrize("octets", [100, 1 << 20], ids=["header", "everything"])
def test_a_ledger_overwritten_with_garbage_defers_until_it_is_set_aside(folder_in_memory: Path, octets: int):
    with trial(folder_in_memory) as play:
        assert play.server.stop() == 0
        path = play.server.state / "ledger.db"
        with path.open("r+b") as file:
            file.write(b"\xa5" * min(octets, os.path.getsize(path)))
        play.server.start()
        sent = play.send(A, B)
        assert play.again(sent) == [[451, 451]] * 2
        assert "ledger" in play.server.log
        for file_ in play.server.state.glob("ledger.db*"):
            file_.unlink()

        assert play.again(sent) == [[451, 451, 250]] * 2


def test_a_ledger_overwritten_at_run_time_loses_and_doubles_nothing(folder_in_memory: Path):
    with trial(folder_in_memory, ledger=False) as play:
        for name in ("ledger.db", "ledger.db-wal"):
            path = play.server.state / name
            path.write_bytes(b"\xa5" * path.stat().st_size)

        sent = [play.send(A, B) for _ in range(3)]

        answers = {code for each in sent for place in (0, 1) for code in each.replies_to(place)}
        assert answers <= {250, 451}
        for path in play.server.state.glob("ledger.db*"):
            path.unlink()
