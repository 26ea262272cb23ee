import contextlib
import sqlite3
import threading
import time
from pathlib import Path

import pytest

from storage.history import History, HistoryRow, HistorySlow
from storage.history_segments import selection

FULL_ROW = HistoryRow(
    at=1_700_000_000.25,
    outcome="delivered",
    transaction_id="t1",
    queue_id="4XyZ",
    message_id="<a@example.net>",
    sender="sender@example.net",
    recipient="user+list@example.org",
    original_recipient="alias@example.org",
    mailbox="/srv/mail/example.org/user",
    folder="list",
    file="1700000000.M1P2Q3Rabc.mx,S=10,W=12",
    octets=10,
    reply="250 2.0.0 Saved",
    cause="none",
    client="unix",
    helo="mx.example.org",
    phases={"stage": 0.25, "publish": 1.5},
)


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


def test_row_comes_back_as_it_was_given(history):
    history.add([FULL_ROW])

    assert history.find() == [FULL_ROW]


def test_what_is_not_known_comes_back_empty_and_is_null_in_the_file(history, path):
    bare = HistoryRow(at=1.0, outcome="refused")
    history.add([bare])

    assert history.find() == [bare]
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute(
            "SELECT DISTINCT typeof(queue_id), typeof(phases) FROM history"
        ).fetchall() == [("null", "null")]


def test_text_that_no_encoding_has_is_kept_legible(history):
    history.add([row(1, helo="m\udce4il", reply="schön")])

    (found,) = history.find()

    assert found.helo == "m\\udce4il"
    assert found.reply == "schön"


@pytest.mark.parametrize(
    "question",
    [
        {"queue_id": "4XyZ"},
        {"message_id": "<a@example.net>"},
        {"address": "sender@example.net"},
        {"address": "user+list@example.org"},
        {"address": "alias@example.org"},
        {"address": "Alias@EXAMPLE.org"},
        {"file": "1700000000.M1P2Q3Rabc.mx,S=10,W=12"},
        {"file": "1700000000.M1P2Q3Rabc.mx,S=10,W=12:2,RS"},
        {"file": "/srv/mail/example.org/user/.list/cur/1700000000.M1P2Q3Rabc.mx,S=10,W=12:2,"},
        {"file": "tmp/1700000000.M1P2Q3Rabc.mx"},
        {"since": 1_700_000_000.25},
        {"until": 1_700_000_000.26},
        {"queue_id": "4XyZ", "address": "sender@example.net", "since": 0.0, "until": 1.8e9},
    ],
)
def test_row_is_found_by_each_thing_one_may_know_of_it(history, question):
    history.add([FULL_ROW, row(1)])

    assert FULL_ROW in history.find(**question)


@pytest.mark.parametrize(
    "question",
    [
        {"queue_id": "4xyz"},
        {"message_id": "a@example.net"},
        {"address": "user@example.org"},
        {"file": "1700000000.M1P2Q3Rabc.m"},
        {"file": "1700000000.M1P2Q3Rabc.mx.example"},
        {"since": 1_700_000_000.26},
        {"until": 1_700_000_000.25},
        {"queue_id": "4XyZ", "address": "other@example.net"},
        {"address": "sender@example.net", "until": 1.0},
    ],
)
def test_row_is_not_found_by_what_it_is_not(history, question):
    history.add([FULL_ROW])

    assert history.find(**question) == []


def test_newest_come_first_and_no_more_than_wanted(history):
    history.add([row(number, sender="a@b") for number in (3, 1, 2)])
    history.add([row(number, recipient="A@B") for number in (5, 4)])

    assert numbers(history.find()) == [5, 4, 3, 2, 1]
    assert numbers(history.find(limit=2)) == [5, 4]
    assert numbers(history.find(address="a@b", limit=3)) == [5, 4, 3]
    assert numbers(history.find(since=2, until=4)) == [3, 2]


def test_row_that_fits_twice_is_told_once(history):
    history.add([row(1, sender="a@b", recipient="a@b", original_recipient="a@b")])

    assert numbers(history.find(address="a@b")) == [1]


def test_rows_of_one_moment_come_in_the_order_of_their_arrival(history):
    history.add([HistoryRow(at=1.0, outcome="delivered", reply=str(number)) for number in range(3)])

    assert [it.reply for it in history.find()] == ["2", "1", "0"]


@pytest.mark.parametrize(
    "asked, index",
    [
        ({"queue_id"}, "history_queue_id (queue_id=?)"),
        ({"message_id"}, "history_message_id (message_id=?)"),
        ({"file"}, "history_file (file>? AND file<?)"),
        ({"since", "until"}, "history_at (at>? AND at<?)"),
        # One address or hour may have a million rows, a key never.
        ({"queue_id", "address", "since", "until"}, "history_queue_id (queue_id=?)"),
        ({"message_id", "address", "since", "until"}, "history_message_id (message_id=?)"),
        ({"file", "address", "since", "until"}, "history_file (file>? AND file<?)"),
    ],
)
def test_every_question_goes_by_the_narrowest_index(history, path, asked, index):
    history.add([FULL_ROW])

    indexed = [step for step in plan_of(path, asked) if "INDEX history_" in step]

    assert len(indexed) == 1
    assert index in indexed[0]


def test_newest_of_all_are_found_without_reading_all(history, path):
    history.add([FULL_ROW])

    assert any("SCAN history_0 USING COVERING INDEX history_at" in step for step in plan_of(path, set()))


@pytest.mark.parametrize("column", ["sender", "recipient", "original_recipient"])
def test_addresses_are_found_in_order_without_sorting(history, path, column):
    history.add([FULL_ROW])

    plan = plan_of(path, {"address", "since"})

    assert any(f"history_{column} ({column}=? AND at>?)" in step for step in plan)
    assert not any("SCAN history_0" in step for step in plan)
    # What is sorted is the answer, not all that the address has.
    assert sum("TEMP B-TREE FOR ORDER BY" in step for step in plan) == 1


def plan_of(path: Path, asked: set[str]) -> list[str]:
    values = dict.fromkeys([*asked, "limit"], 1)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return [
            step
            for *_, step in connection.execute(f"EXPLAIN QUERY PLAN {selection('history_0', asked)}", values)
        ]


def test_rows_are_found_in_whatever_segment_they_are(path):
    history = History(path, segment_rows=2)
    for number in range(7):
        history.add([row(number, queue_id=f"q{number % 3}", recipient="A@x", sender=f"{number}@x")])

    assert numbers(history.find(queue_id="q1")) == numbers(history.find(address="a@X"))[2::3]
    assert len(history.find(address="a@x")) == 7
    assert len(history.find(address="4@x")) == 1
    assert len(history.find(address="a@x", limit=3)) == 3
    assert history.find(queue_id="q3") == []


def test_reading_ends_when_its_time_is_up(history, path, monkeypatch):
    history.add([row(number) for number in range(500)])
    monkeypatch.setattr("storage.history.LATE_STEPS", 1)
    now = time.monotonic()

    assert len(History(path, give_up_at=now + 3600).find(since=0.0)) == 100
    with pytest.raises(HistorySlow):
        History(path, give_up_at=now).find(since=0.0)
    slow = History(path, give_up_at=now + 3600)
    looks = iter([now, now, now + 3601])  # the clock passes the moment while rows are read
    monkeypatch.setattr("storage.history.time.monotonic", lambda: next(looks, now + 3601))
    with pytest.raises(HistorySlow, match="in time"):
        slow.find(since=0.0)


def test_adding_nothing_touches_nothing(history, path):
    history.add([])

    assert not path.exists()


def test_processes_and_threads_add_beside_each_other(history, path):
    with contextlib.closing(History(path)) as other:

        def add(to: History, start: int) -> None:
            for number in range(start, start + 30):
                to.add([row(number), row(number)])

        threads = [
            threading.Thread(target=add, args=(it, n)) for n, it in enumerate([history, history, other])
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert len(history.find(limit=1000)) == 180
