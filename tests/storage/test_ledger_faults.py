"""What the ledger does when file, disk, a stranger or a thread is at fault: an error, then service."""

import contextlib
import fcntl
import os
import sqlite3
import subprocess
import threading

import pytest

from storage.ledger import InFlight, Known, Ledger, LedgerCorrupt, LedgerError, New, Record
from storage.owners import Owner
from tests.support.ledgers import other_process, record, records_in
from tests.support.polling import wait_for
from tests.support.requirements import need
from tests.support.word_database import largest_file


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.db"


@pytest.fixture
def owner():
    return Owner.of_this_process()


@pytest.fixture
def ledger(path, owner):
    with contextlib.closing(Ledger(path, owner, busy_timeout_s=0.05)) as ledger:
        yield ledger


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MiB, mounted at the path."""
    need("root")
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("needs to mount a tmpfs")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


@contextlib.contextmanager
def locked_by_a_stranger(path):
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as stranger:
        stranger.execute("BEGIN IMMEDIATE")
        yield
        stranger.execute("ROLLBACK")


def assert_serves(ledger, path, number):
    """After a fault everything works as if it had not been."""
    assert ledger.intend([record(number)]) == [New()]
    assert records_in(path)[number] == f"{number}.1"
    ledger.confirm([record(number).key])
    ledger.flush()
    assert number not in records_in(path)


def test_foreign_writer_makes_an_error_that_leaves_nothing_in_flight(ledger, path):
    ledger.intend([record(1)])

    with locked_by_a_stranger(path):
        with pytest.raises(LedgerError, match="locked"):
            ledger.intend([record(2)])
        with pytest.raises(LedgerError, match="locked"):
            ledger.amend([record(1, 2)])

    assert records_in(path) == {1: "1.1"}
    assert_serves(ledger, path, 2)


def test_what_was_confirmed_and_released_survives_an_error(ledger, path):
    ledger.intend([record(1), record(2)])
    ledger.confirm([record(1).key])
    ledger.release([record(2).key])

    with locked_by_a_stranger(path), pytest.raises(LedgerError):
        ledger.flush()

    assert ledger.has_pending
    assert ledger.intend([record(2, 2)]) == [Known(record(2))]
    assert records_in(path) == {2: "2.1"}


def test_closing_beside_a_foreign_writer_is_no_error(ledger, path):
    ledger.intend([record(1)])
    ledger.confirm([record(1).key])

    with locked_by_a_stranger(path):
        ledger.close()

    assert records_in(path) == {1: "1.1"}


def test_failed_commit_keeps_the_queue_and_withdraws_the_rest(ledger, path):
    ledger.intend([record(1), record(2)])
    ledger.confirm([record(1).key])
    ledger.release([record(2).key])

    log = path.with_name("ledger.db-wal")
    with largest_file(log.stat().st_size + 2000), pytest.raises(LedgerError, match="I/O error"):
        ledger.intend([record(3)])

    assert records_in(path) == {1: "1.1", 2: "2.1"}
    assert_serves(ledger, path, 3)
    assert records_in(path) == {2: "2.1"}


def test_record_that_a_failed_commit_left_is_not_in_flight_for_others(ledger, owner, path):
    ledger.intend([record(1), record(2)])
    ledger.confirm([record(2).key])
    with contextlib.closing(sqlite3.connect(path)) as stranger, stranger:
        stranger.execute(
            "INSERT INTO records VALUES (?, '/srv/mail/user', 'tmp-3.1', '3.1', ?, 0)",
            (record(3).key, str(owner)),
        )

    with locked_by_a_stranger(path), pytest.raises(LedgerError):
        ledger.intend([record(4)])
    ledger.flush()

    with other_process(path) as other:
        found = other("intend", [record(1, 2), record(2, 2), record(3, 2)])
    assert found == [InFlight(), New(), Known(record(3))]


def test_record_that_a_failed_commit_left_is_known_to_its_own_process(ledger, owner, path):
    ledger.intend([record(1)])
    with contextlib.closing(sqlite3.connect(path)) as stranger, stranger:
        stranger.execute(
            "INSERT INTO records VALUES (?, '/srv/mail/user', 'tmp-3.1', '3.1', ?, 0)",
            (record(3).key, str(owner)),
        )

    assert ledger.intend([record(3, 2)]) == [Known(record(3))]


def test_full_disk_is_an_error_until_there_is_room_again(small_disk):
    path = small_disk / "ledger.db"
    with contextlib.closing(Ledger(path, Owner.of_this_process())) as ledger:
        ledger.intend([record(1)])
        ledger.confirm([record(1).key])
        filler = small_disk / "filler"
        with pytest.raises(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))

        for _ in range(2):
            with pytest.raises(LedgerError, match="full"):
                ledger.intend([record(number) for number in range(2, 200)])
        assert records_in(path) == {1: "1.1"}
        filler.unlink()

        assert_serves(ledger, path, 2)
        assert records_in(path) == {}


def test_disk_that_is_full_from_the_start_is_an_error_until_there_is_room(small_disk):
    path = small_disk / "ledger.db"
    filler = small_disk / "filler"
    with pytest.raises(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))

    with contextlib.closing(Ledger(path, Owner.of_this_process())) as ledger:
        with pytest.raises(LedgerError):
            ledger.intend([record(1)])
        filler.unlink()

        assert_serves(ledger, path, 1)


def test_read_only_file_system_is_an_error_until_it_can_be_written(small_disk):
    path = small_disk / "ledger.db"
    with contextlib.closing(Ledger(path, Owner.of_this_process())) as ledger:
        subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
        with pytest.raises(LedgerError, match="Read-only file system"):
            ledger.intend([record(1)])
        subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)

        assert_serves(ledger, path, 1)


def test_missing_directory_is_an_error_until_it_is_there(tmp_path):
    path = tmp_path / "state" / "ledger.db"
    with contextlib.closing(Ledger(path, Owner.of_this_process())) as ledger:
        for call in (lambda: ledger.intend([record(1)]), ledger.recover, ledger.dead_tokens):
            with pytest.raises(LedgerError, match="No such file"):
                call()
        path.parent.mkdir()

        assert_serves(ledger, path, 1)


def test_damaged_file_is_told_with_the_command_that_helps(tmp_path):
    path = tmp_path / "state of mail" / "ledger.db"
    path.parent.mkdir()
    path.write_bytes(b"no database " * 1000)
    with contextlib.closing(Ledger(path, Owner.of_this_process())) as ledger:
        with pytest.raises(LedgerCorrupt) as caught:
            ledger.intend([record(1)])
        start, _, command = str(caught.value).partition("set it aside and a new one is made: ")
        assert start == f"{path} is damaged (file is not a database); "

        subprocess.run(command, shell=True, check=True)

        assert_serves(ledger, path, 1)


def test_file_damaged_in_use_is_told_as_such(ledger, path):
    ledger.intend([record(number) for number in range(100)])
    ledger.close()
    with path.open("r+b") as raw:
        raw.seek(4096)
        raw.write(os.urandom(path.stat().st_size - 4096))

    with contextlib.closing(Ledger(path, Owner.of_this_process())) as other, pytest.raises(LedgerCorrupt):
        other.intend([record(1)])


@pytest.mark.parametrize("gone", ["ledger.db", "ledger.db*", "*-wal"])
def test_deleted_file_is_made_again(ledger, path, gone):
    ledger.intend([record(1), record(2)])
    for name in path.parent.glob(gone):
        name.unlink()

    assert ledger.intend([record(3)]) == [New()]
    assert records_in(path)[3] == "3.1"
    # What is in flight stays so in memory, and its end is no error.
    assert ledger.intend([record(1, 2)]) == [InFlight()]
    ledger.amend([record(2, 2)])
    assert records_in(path)[2] == "2.2"
    ledger.confirm([record(number).key for number in (1, 2, 3)])
    ledger.flush()
    assert records_in(path) == {}


def test_bug_of_a_caller_is_no_ledger_error_and_leaves_a_clean_ledger(ledger, path):
    ledger.intend([record(1)])
    ledger.confirm([record(1).key])
    unstorable = Record(record(2).key, "\udcff", "tmp", "name")

    with pytest.raises(UnicodeEncodeError):
        ledger.intend([unstorable])

    assert ledger.has_pending
    assert_serves(ledger, path, 2)
    assert records_in(path) == {}


def test_thread_whose_leader_was_interrupted_gets_an_error(ledger, path):
    ledger.intend([record(1)])
    batches = ledger._batches
    outcomes = {}

    def interrupt(connection):
        raise KeyboardInterrupt

    def run(name, work):
        def guarded():
            try:
                work()
            except (KeyboardInterrupt, LedgerError) as exc:
                outcomes[name] = type(exc)

        thread = threading.Thread(target=guarded)
        thread.start()
        return thread

    with open(f"{path}.lock", "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        threads = [run("first", lambda: ledger.intend([record(2)]))]
        wait_for(lambda: batches._busy, "the first batch")
        threads.append(run("leader", lambda: ledger._run(interrupt)))
        wait_for(lambda: batches._gathering, "the second batch")
        threads.append(run("follower", lambda: ledger.intend([record(3)])))
        wait_for(lambda: len(batches._gathering.items) == 2, "the follower")
    for thread in threads:
        thread.join()

    assert outcomes == {"leader": KeyboardInterrupt, "follower": LedgerError}
    assert records_in(path) == {1: "1.1", 2: "2.1"}
    assert_serves(ledger, path, 3)
