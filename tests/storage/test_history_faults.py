"""What becomes of the history when it cannot be written, and who may read it."""

import contextlib
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from storage.history import History, HistoryError, HistoryRow
from tests.support.requirements import ROOT, need, program

NOBODY = 65534


@pytest.fixture
def path(tmp_path):
    return tmp_path / "history.db"


@pytest.fixture
def history(path):
    with contextlib.closing(History(path, busy_timeout_s=0.05)) as history:
        yield history


def row(number: int, **columns) -> HistoryRow:
    return HistoryRow(at=float(number), outcome="delivered", transaction_id=str(number), **columns)


def numbers(rows: list[HistoryRow]) -> list[int]:
    return [int(it.transaction_id) for it in rows]


def test_history_that_cannot_be_written_is_an_error_until_it_can(tmp_path):
    path = tmp_path / "state" / "history.db"
    with contextlib.closing(History(path)) as history:
        for call in (lambda: history.add([row(1)]), lambda: history.prune(1), history.find):
            with pytest.raises(HistoryError, match=str(path)):
                call()
        path.parent.mkdir()

        history.add([row(1)])

        assert history.find() == [row(1)]


def test_foreign_writer_makes_an_error_that_adds_nothing(history, path):
    history.add([row(1)])
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as stranger:
        stranger.execute("BEGIN IMMEDIATE")
        with pytest.raises(HistoryError, match="locked"):
            history.add([row(2)])
        stranger.execute("ROLLBACK")

    history.add([row(3)])

    assert numbers(history.find()) == [3, 1]


def test_deleted_history_is_made_again(history, path):
    history.add([row(1)])
    path.unlink()

    history.add([row(2)])

    assert numbers(history.find()) == [2]


def test_damaged_history_is_told_with_the_command_that_helps(history, path):
    path.write_bytes(b"no database " * 1000)
    with pytest.raises(HistoryError, match="is damaged"):
        history.find()
    with pytest.raises(HistoryError, match="is damaged") as caught:
        history.add([row(1)])
    command = str(caught.value).partition("set it aside and a new one is made: ")[2]

    subprocess.run(command, shell=True, check=True)

    history.add([row(1)])
    assert history.find() == [row(1)]


def test_bug_of_a_caller_is_no_history_error_and_adds_nothing(history):
    with pytest.raises(OverflowError):
        history.add([row(1), row(2, octets=1 << 64)])

    assert history.find() == []
    history.add([row(3)])
    assert numbers(history.find()) == [3]


def test_closed_history_adds_no_more_but_can_be_read(history):
    history.add([row(1)])
    history.close()

    with pytest.raises(HistoryError):
        history.add([row(2)])
    history.close()
    assert numbers(history.find()) == [1]


def test_adding_waits_for_no_disk(path):
    need("ptrace")
    script = """
import os, sys
from pathlib import Path
from storage.history import History, HistoryRow
history = History(Path(sys.argv[1]))
history.add([HistoryRow(at=0.0, outcome="delivered")])
os.write(2, b"begin")
for number in range(50):
    history.add([HistoryRow(at=1.0, outcome="delivered")])
history.prune(days=0)
os._exit(0)
"""
    strace = [program("strace"), "-f", "-qq", "-e", "trace=fsync,fdatasync,write", "-e", "signal=none"]
    done = subprocess.run(
        [*strace, "-o", "/dev/stdout", sys.executable, "-c", script, str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    opening, _, adding = done.stdout.partition('"begin"')
    assert "sync(" in opening
    assert "sync(" not in adding


@pytest.fixture
def readable(tmp_path):
    """A history in a directory where everybody may read and nobody but we may write."""
    need("root")
    for folder in (tmp_path, *tmp_path.parents[:-1]):
        folder.chmod(folder.stat().st_mode | 0o055)
    path = tmp_path / "history.db"
    path.touch()
    path.chmod(0o644)
    return path


def find_as_nobody(path: Path) -> str:
    """Ask from a process of another user."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            os.write(write, str(numbers(History(path).find())).encode())
        except HistoryError as exc:
            os.write(write, repr(exc).encode())
        finally:
            os._exit(0)
    os.close(write)
    os.waitpid(pid, 0)
    with open(read, encoding="utf-8") as answers:
        return answers.read()


def test_other_users_read_beside_a_server(readable):
    with contextlib.closing(History(readable)) as history:
        history.add([row(1)])

        assert find_as_nobody(readable) == "[1]"

        history.add([row(2)])
        assert find_as_nobody(readable) == "[2, 1]"


def test_other_users_read_after_the_server(readable):
    with contextlib.closing(History(readable)) as history:
        history.add([row(1)])

    assert find_as_nobody(readable) == "[1]"
    assert sorted(it.name for it in readable.parent.iterdir()) == ["history.db", "history.db.lock"]


def test_other_users_are_told_when_they_may_not_read(readable):
    with contextlib.closing(History(readable)) as history:
        history.add([row(1)])
    readable.chmod(0o600)

    assert "HistoryError" in find_as_nobody(readable)
