"""The ledger between processes: those that run beside each other, and those that are killed or lose power."""

import contextlib
import shutil
import subprocess
import sys

import pytest

from storage.ledger import InFlight, Known, Ledger, New
from storage.owners import Owner
from tests.support.ledgers import other_process, record, records_in
from tests.support.polling import wait_for
from tests.support.requirements import ROOT, need, program


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.db"


@pytest.fixture
def ledger(path):
    with contextlib.closing(Ledger(path, Owner.of_this_process())) as ledger:
        yield ledger


def test_key_is_in_flight_for_all_processes_until_its_own_ends_it(ledger, path):
    with other_process(path) as other:
        assert other("intend", [record(1)]) == [New()]
        assert ledger.intend([record(1, 2)]) == [InFlight()]

        other("release", [record(1).key])
        other("flush")

        assert ledger.intend([record(1, 2)]) == [Known(record(1))]
        assert other("intend", [record(1, 3)]) == [InFlight()]


@pytest.mark.parametrize("recover_first", [False, True])
def test_delivery_of_a_killed_process_is_known(ledger, path, recover_first):
    with other_process(path) as other:
        other("intend", [record(1), record(2)])
        other.kill()

        if recover_first:
            assert ledger.recover() == [record(1), record(2)]

        assert ledger.dead_tokens() == {other.token}
        assert ledger.intend([record(1, 2), record(3)]) == [Known(record(1)), New()]


def test_recovery_tells_each_record_once_and_spares_the_living(ledger, path):
    ledger.intend([record(0)])
    with other_process(path) as alive, other_process(path) as dead:
        alive("intend", [record(1)])
        dead("intend", [record(2)])
        dead("amend", [record(2, 2)])
        dead.kill()

        assert alive("recover") == [record(2, 2)]
        assert ledger.recover() == []
        assert ledger.intend([record(1, 2), record(2, 3)]) == [InFlight(), Known(record(2, 2))]


def test_what_was_confirmed_but_not_written_down_counts_as_unconfirmed_after_a_kill(ledger, path):
    with other_process(path) as other:
        other("intend", [record(1)])
        other("confirm", [record(1).key])
        other.kill()

        assert ledger.intend([record(1, 2)]) == [Known(record(1))]


def test_killed_process_in_its_turn_holds_nobody_up(ledger, path):
    ledger.intend([record(0)])
    with other_process(path) as other:
        other.begin("intend_for_ever", 1)
        wait_for(lambda: len(records_in(path)) >= 20, "some records", every_s=0.001)
        other.kill()

        assert ledger.intend([record(10**9)]) == [New()]
        written = ledger.recover()
        assert written == [record(number) for number in range(1, len(written) + 1)]


def test_contending_processes_deliver_each_key_once(path):
    keys = [record(number) for number in range(100)]
    with other_process(path) as one, other_process(path) as other:
        one.begin("intend_each", keys)
        other.begin("intend_each", keys[::-1])
        findings = list(zip(one.result(), other.result()[::-1], strict=True))

    assert {frozenset(map(repr, both)) for both in findings} == {frozenset({"New()", "InFlight()"})}


def test_processes_that_open_at_once_make_one_ledger(path):
    with contextlib.ExitStack() as stack:
        others = [stack.enter_context(other_process(path)) for _ in range(6)]
        for number, other in enumerate(others):
            other.begin("intend", [record(number)])

        assert [other.result() for other in others] == [[New()]] * 6
        assert len(records_in(path)) == 6


def test_files_as_they_are_when_intend_returns_hold_the_record(ledger, path, tmp_path):
    for number in range(20):
        ledger.intend([record(number)])
        then = tmp_path / f"then-{number}"
        then.mkdir()
        for name in ("ledger.db", "ledger.db-wal"):
            shutil.copy(tmp_path / name, then)

        assert set(records_in(then / "ledger.db")) == set(range(number + 1))


# Says what it does on descriptor 2, where strace sees it between the other calls.
TRACED = """
import os, sys
from pathlib import Path
from storage.ledger import Ledger, Record
from storage.owners import Owner

def say(what):
    os.write(2, what.encode())

def record(number):
    return Record(number.to_bytes(32, "big"), "/srv/mail/user", f"tmp-{number}", f"name-{number}")

ledger = Ledger(Path(sys.argv[1]), Owner.of_this_process())
say("first")
ledger.intend([record(0)])
say("intend")
ledger.intend([record(1), record(2)])
say("amend")
ledger.amend([Record(record(1).key, "/srv/mail/other", "tmp", "name")])
ledger.confirm([record(0).key])
ledger.release([record(1).key])
say("flush")
ledger.flush()
say("recover")
ledger.recover()
say("intend")
ledger.intend([record(1)])
say("end")
os._exit(0)  # closing the file would bring the log into it
"""


def test_new_records_cost_one_sync_and_the_rest_none(path):
    need("ptrace")
    command = [program("strace"), "-f", "-qq", "-y", "-e", "trace=fsync,fdatasync,write", "-e", "signal=none"]
    traced = subprocess.run(
        [*command, "-o", "/dev/stdout", sys.executable, "-c", TRACED, str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    steps: list[tuple[str, list[str]]] = []
    for line in traced.stdout.splitlines():
        call = line.split(maxsplit=1)[1]
        if call.startswith("write(2<"):
            steps.append((call.split('"')[1], []))
        elif steps and "sync(" in call:
            steps[-1][1].append(call.split("<")[1].split(">")[0].rpartition("/")[2])

    (_, first), *others = steps
    assert "ledger.db" in first
    assert path.parent.name in first[first.index("ledger.db") :], "the directory names the finished file"
    assert others == [
        ("intend", ["ledger.db-wal"]),
        ("amend", ["ledger.db-wal"]),
        ("flush", []),
        ("recover", []),
        ("intend", ["ledger.db-wal"]),
        ("end", []),
    ]
