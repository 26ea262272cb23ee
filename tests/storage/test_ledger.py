import contextlib
import sqlite3
import threading
from dataclasses import replace

import pytest

from storage.ledger import InFlight, Known, Ledger, LedgerError, New
from storage.owners import Owner
from tests.support.ledgers import record, records_in


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.db"


@pytest.fixture
def connect(path):
    """Open the ledger as one more process would; closed when the test is over."""
    with contextlib.ExitStack() as closing:

        def open_ledger(**settings) -> Ledger:
            ledger = Ledger(path, Owner.of_this_process(), **{"busy_timeout_s": 0.05, **settings})
            closing.callback(ledger.close)
            return ledger

        yield open_ledger


@pytest.fixture
def ledger(connect):
    return connect()


def test_unknown_deliveries_are_new_and_written_down(ledger, path):
    assert ledger.intend([record(1), record(2)]) == [New(), New()]
    assert records_in(path) == {1: "1.1", 2: "2.1"}


def test_nothing_intended_is_nothing_done(ledger, path):
    assert ledger.intend([]) == []

    ledger.amend([])
    ledger.flush()

    assert not path.exists()


def test_key_in_flight_in_this_process_is_not_given_twice(ledger):
    ledger.intend([record(1)])

    assert ledger.intend([record(1, 2), record(2)]) == [InFlight(), New()]


def test_equal_keys_at_once_are_given_once(ledger, path):
    assert ledger.intend([record(1), record(1, 2)]) == [New(), InFlight()]
    assert records_in(path) == {1: "1.1"}


def test_key_in_flight_in_another_process_is_not_given(ledger, connect, path):
    ledger.intend([record(1)])

    assert connect().intend([record(1, 2), record(2)]) == [InFlight(), New()]
    assert records_in(path) == {1: "1.1", 2: "2.1"}


def test_key_refused_for_another_process_can_be_asked_again(ledger, connect):
    other = connect()
    ledger.intend([record(1)])
    other.intend([record(1, 2)])

    ledger.confirm([record(1).key])
    ledger.flush()

    assert other.intend([record(1, 2)]) == [New()]


def test_confirmed_delivery_is_forgotten(ledger, path):
    ledger.intend([record(1), record(2)])

    ledger.confirm([record(1).key])

    assert ledger.has_pending
    ledger.flush()
    assert not ledger.has_pending
    assert records_in(path) == {2: "2.1"}


def test_identical_message_after_a_confirmation_is_new_without_a_flush(ledger, path):
    ledger.intend([record(1)])
    ledger.confirm([record(1).key])

    assert ledger.intend([record(1, 2)]) == [New()]
    assert records_in(path) == {1: "1.2"}


def test_withdrawn_delivery_is_forgotten(ledger, path):
    ledger.intend([record(1)])

    ledger.withdraw([record(1).key])
    ledger.flush()

    assert records_in(path) == {}
    assert ledger.intend([record(1, 2)]) == [New()]


@pytest.mark.parametrize("in_other_process", [False, True])
def test_released_delivery_is_known_with_its_first_content(ledger, connect, path, in_other_process):
    ledger.intend([record(1)])
    ledger.release([record(1).key])
    ledger.flush()

    retry = connect() if in_other_process else ledger

    assert retry.intend([record(1, 2), record(2)]) == [Known(record(1)), New()]
    assert records_in(path) == {1: "1.1", 2: "2.1"}


def test_known_delivery_is_in_flight_until_it_ends(ledger, connect):
    ledger.intend([record(1)])
    ledger.release([record(1).key])
    ledger.intend([record(1, 2)])

    assert ledger.intend([record(1, 3)]) == [InFlight()]
    assert connect().intend([record(1, 3)]) == [InFlight()]

    ledger.release([record(1).key])
    assert ledger.intend([record(1, 3)]) == [Known(record(1))]


def test_ending_what_is_not_in_flight_here_changes_nothing(ledger, connect, path):
    ledger.intend([record(1)])
    other = connect()

    for end in (other.confirm, other.release, other.withdraw):
        end([record(1).key, record(2).key])

    assert not other.has_pending
    assert other.intend([record(1, 2)]) == [InFlight()]


def test_amended_delivery_is_known_by_its_new_content(ledger):
    ledger.intend([record(1)])

    ledger.amend([record(1, 2)])
    ledger.release([record(1).key])

    assert ledger.intend([record(1, 3)]) == [Known(record(1, 2))]


def test_file_is_not_made_before_it_is_needed_and_gone_when_closed(ledger, path):
    assert not path.exists()

    ledger.intend([record(1)])
    ledger.close()

    assert sorted(it.name for it in path.parent.iterdir()) == ["ledger.db", "ledger.db.lock"]


def test_closed_ledger_refuses_work_and_may_be_closed_again(ledger):
    ledger.close()

    with pytest.raises(LedgerError):
        ledger.intend([record(1)])
    ledger.close()


def test_closing_writes_down_what_was_confirmed(ledger, path):
    ledger.intend([record(1), record(2)])
    ledger.confirm([record(1).key])

    ledger.close()

    assert records_in(path) == {2: "2.1"}


def test_orderly_end_leaves_no_registration_and_an_early_one_does(ledger, connect, path):
    def registered():
        with contextlib.closing(sqlite3.connect(path)) as connection:
            return connection.execute("SELECT count(*) FROM processes").fetchone()[0]

    other = connect()
    ledger.intend([record(1)])
    other.intend([record(2)])
    assert registered() == 2

    other.confirm([record(2).key])
    other.close()
    assert registered() == 1
    ledger.close()
    assert registered() == 1


def test_living_processes_have_nothing_to_recover(ledger, connect):
    ledger.intend([record(1)])

    assert connect().recover() == []
    assert connect().dead_tokens() == frozenset()


def test_prune_forgets_what_was_released_long_ago(ledger, path):
    ledger.intend([record(1), record(2)])
    ledger.release([record(1).key])
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE records SET created = created - 1000")

    assert ledger.prune(older_than_s=2000) == 0
    assert ledger.prune(older_than_s=999) == 1
    assert records_in(path) == {2: "2.1"}


def test_many_deliveries_at_once(ledger, path):
    first, second = [record(n) for n in range(0, 2000, 2)], [record(n, 2) for n in range(2000)]
    ledger.intend(first)
    ledger.release([it.key for it in first])

    assert ledger.intend(second) == [Known(record(n)) if n % 2 == 0 else New() for n in range(2000)]

    ledger.confirm([it.key for it in second])
    ledger.flush()
    assert records_in(path) == {}


def test_threads_share_batches_and_get_their_own_answers(ledger, path):
    threads, rounds = 8, 40
    problems: list[object] = []

    def deliver(thread: int) -> None:
        for number in range(thread * 1000, thread * 1000 + rounds):
            # The last one is everybody's.
            findings = ledger.intend([record(number), record(9999)])
            if findings[0] != New():
                problems.append(findings)
            ledger.confirm([record(number).key])
            if findings[1] == New():
                ledger.confirm([record(9999).key])

    workers = [threading.Thread(target=deliver, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    assert not problems
    ledger.flush()
    assert records_in(path) == {}


def test_one_thread_gets_the_key_that_many_want(ledger):
    barrier = threading.Barrier(8)
    findings = []

    def want(attempt: int) -> None:
        barrier.wait()
        findings.extend(ledger.intend([record(1, attempt)]))

    workers = [threading.Thread(target=want, args=(number,)) for number in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    assert sorted(map(repr, findings)) == ["InFlight()"] * 7 + ["New()"]


@pytest.mark.parametrize("below, known", [("", True), ("/.Lists", True), ("2", False)])
def test_what_ended_unconfirmed_in_a_mailbox_may_come_again(ledger, connect, below, known):
    delivery = replace(record(1), maildir=f"/mail/box{below}")
    ledger.intend([delivery])
    assert not ledger.may_come_again("/mail/box")

    ledger.release([delivery.key])

    assert ledger.may_come_again("/mail/box") is known
    assert connect().may_come_again("/mail/box") is known
    ledger.intend([delivery])
    ledger.confirm([delivery.key])
    assert not ledger.may_come_again("/mail/box")
