"""The history in segments: where rows go, what is removed, what other programs see."""

import contextlib
import sqlite3
import threading
import time

import pytest
import sqlite_utils

from storage.database import SharedDatabase
from storage.history import History, HistoryRow
from storage.history_segments import SCHEMA, VIEWED, Segment, segments

DAY_S = 86_400.0


@pytest.fixture
def path(tmp_path):
    return tmp_path / "history.db"


def history(path, **settings):
    return contextlib.closing(History(path, **{"segment_rows": 10, **settings}))


def row(number: int, **columns) -> HistoryRow:
    return HistoryRow(at=float(number), outcome="delivered", transaction_id=str(number), **columns)


def rows(*numbers: int, **columns) -> list[HistoryRow]:
    return [row(number, **columns) for number in numbers]


def found(history, **question) -> list[int]:
    return [int(each.transaction_id) for each in history.find(**question)]


def known(path) -> list[Segment]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return segments(connection)


def test_segment_that_is_full_is_followed_by_another(path):
    with history(path) as written:
        written.add(rows(*range(9)))
        written.add(rows(9))
        assert [each.number for each in known(path)] == [0]
        written.add(rows(10))
        assert [(each.number, each.first_id) for each in known(path)] == [(1, 11), (0, 1)]
        written.add(rows(*range(11, 40)))  # a batch is not torn apart
        written.add(rows(40))

        assert [each.number for each in known(path)] == [2, 1, 0]
        assert found(written) == list(range(40, -1, -1))


def test_segment_that_is_old_is_followed_by_another_once_it_has_rows(path):
    with history(path, segment_s=0.0) as written:
        written.add(rows(1))
        written.add(rows(2))
        written.add(rows(3))

    assert [each.first_id for each in known(path)] == [3, 2, 1]


def test_ids_go_on_and_tell_what_was_written_later(path):
    with history(path) as written:
        assert [written.add(rows(number)) for number in range(25)]
        first = written.find(transaction_id="3")[0].id

        assert [each.id for each in written.find(limit=3)] == [25, 24, 23]
        assert found(written, behind=first) == list(range(24, 3, -1))
        assert found(written, behind=first, transaction_id="3") == []
        assert written.newest_id() == 25
        assert written.rows() == 25


@pytest.mark.parametrize(
    "question",
    [
        {"queue_id": "Q"},
        {"message_id": "<m@x>"},
        {"address": "s@x"},
        {"address": "r@x"},
        {"address": "o@x"},
        {"file": "1.M1P1.mx"},
        {"since": 3.0, "until": 40.0},
    ],
)
def test_question_is_asked_of_all_segments(path, question):
    columns = {
        "queue_id": "Q",
        "message_id": "<m@x>",
        "sender": "s@x",
        "recipient": "r@x",
        "original_recipient": "o@x",
        "file": "1.M1P1.mx,S=1",
    }
    with history(path) as written:
        for number in range(45):
            written.add([row(number, **(columns if number % 13 == 3 else {}))])

        expected = [number for number in range(44, -1, -1) if number % 13 == 3]
        fits = [each for each in found(written, **question) if each % 13 == 3]
        assert fits == ([29, 16, 3] if "until" in question else expected)
        assert found(written, **question, limit=2) == ([39, 38] if "until" in question else expected[:2])


def test_newest_are_found_though_a_clock_went_back(path):
    with history(path) as written:
        for number in [*range(90, 100), *range(50, 60), *range(70, 80)]:
            written.add(rows(number))

        assert found(written, limit=3) == [99, 98, 97]
        assert found(written, limit=12) == [*range(99, 89, -1), 79, 78]


def test_segments_that_are_wholly_old_are_removed(path):
    now = time.time()
    with history(path) as written:
        for age in (12, 11, 10.5, 8):
            written.add([HistoryRow(at=now - age * DAY_S, outcome="delivered")] * 10)

        assert written.prune(days=10) == 30
        assert written.prune(days=10) == 0
        assert len(written.find()) == 10

        written.add([HistoryRow(at=now, outcome="delivered")])
        assert [each.id for each in written.find(limit=2)] == [41, 40]


def test_only_segment_is_removed_when_it_is_old(path):
    with history(path) as written:
        written.add(rows(1, 2))

        assert written.prune(days=1) == 2
        assert written.find() == []
        assert written.prune(days=1) == 0
        assert len(known(path)) == 1


def test_size_is_bounded_and_the_newest_stay(path):
    bound = 400_000
    with history(path, octets=bound, segment_rows=200_000) as written:
        for number in range(120):
            written.add(rows(*range(20 * number, 20 * number + 20), reply="x" * 500))
            written.prune(days=36_500)

        assert path.stat().st_size < 2 * bound
        numbers = found(written, limit=10_000)
        assert numbers[0] == 2399
        assert 100 < len(numbers) < 800
        assert numbers == list(range(2399, 2399 - len(numbers), -1))


def test_others_add_while_it_is_pruned(path):
    now = time.time()
    with history(path, segment_rows=50) as written, history(path, segment_rows=50) as other:
        for _ in range(20):
            written.add([HistoryRow(at=1.0, outcome="delivered")] * 50)

        def add() -> None:
            for _ in range(50):
                other.add([HistoryRow(at=now, outcome="refused")])

        pruners = [threading.Thread(target=lambda it=it: it.prune(days=1)) for it in (written, other)]
        for thread in (*pruners, adding := threading.Thread(target=add)):
            thread.start()
        for thread in (*pruners, adding):
            thread.join()

        assert [each.outcome for each in written.find(limit=2000)] == ["refused"] * 50


def test_file_of_an_earlier_version_is_taken_over(path):
    earlier = type(SCHEMA)(name="history", steps={"history": SCHEMA.steps["history"]})
    file = SharedDatabase(path, earlier, durable=False)
    file.begin().execute(
        "INSERT INTO history (at, octets, outcome, queue_id) VALUES (1, 2, 'delivered', 'Q')"
    )
    file.commit()
    file.close()

    with history(path) as written:
        written.add(rows(2))

        assert [each.queue_id for each in written.find()] == ["", "Q"]
        assert [each.id for each in written.find()] == [2, 1]


def test_other_programs_see_one_table(path):
    with history(path) as written:
        for number in range(25):
            written.add(rows(number, queue_id="Q" if number % 10 == 0 else ""))

    database = sqlite_utils.Database(path)
    try:
        assert database.view_names() == ["history"]
        assert database["history"].count == 25
        assert {"at", "queue_id", "phases"} <= {column.name for column in database["history"].columns}
        ids = database.query("SELECT id FROM history WHERE queue_id = 'Q' ORDER BY id")
        assert [each["id"] for each in ids] == [1, 11, 21]
        plan = [
            each["detail"]
            for each in database.query("EXPLAIN QUERY PLAN SELECT * FROM history WHERE queue_id = 'Q'")
        ]
        assert sum("USING INDEX history_" in step for step in plan) == 3
        assert not any(step.startswith("SCAN history_") for step in plan)
    finally:
        database.close()


def test_view_holds_no_more_than_sqlite_can_join(path, monkeypatch):
    monkeypatch.setattr("storage.history_segments.VIEWED", 4)
    with history(path, segment_rows=1) as written:
        for number in range(10):
            written.add(rows(number))

        assert len(written.find(limit=1000)) == 10
        with contextlib.closing(sqlite3.connect(path)) as connection:
            assert connection.execute("SELECT count(*), max(at) FROM history").fetchone() == (4, 9.0)


def test_sqlite_can_join_as_many():
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        select = " UNION ALL ".join(["SELECT 1"] * VIEWED)

        assert connection.execute(f"SELECT count(*) FROM ({select})").fetchone() == (VIEWED,)
