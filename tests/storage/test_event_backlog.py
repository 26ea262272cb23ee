"""The queues of events that wait for their receivers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.event_backlog import EventBacklog, Standing, standings
from storage.ledger_events import EventsError


@pytest.fixture
def backlog(tmp_path: Path) -> Iterator[EventBacklog]:
    backlog = EventBacklog(tmp_path / "events.db")
    yield backlog
    backlog.close()


def figures(tmp_path: Path, name: str) -> Standing:
    return next(each for each in standings(tmp_path / "events.db", timeout_s=1) if each.name == name)


def test_each_receiver_has_its_own_order(backlog: EventBacklog):
    backlog.add([("a", ["1", "2"]), ("b", ["2"])])
    backlog.add([("a", ["3"])])

    assert [each.event for each in backlog.next("a", 2)] == ["1", "2"]
    assert [each.event for each in backlog.next("b", 9)] == ["2"]
    assert backlog.next("c", 9) == []


def test_what_is_taken_goes_and_what_fails_stays(backlog: EventBacklog, tmp_path: Path):
    backlog.add([("a", ["1", "22", "333"])])

    backlog.failed("a", "down")
    failing = figures(tmp_path, "a")
    backlog.taken("a", backlog.next("a", 2))
    backlog.taken("a", [])

    assert (failing.queued, failing.octets, failing.failed, failing.error) == (3, 6, 1, "down")
    assert [each.event for each in backlog.next("a", 9)] == ["333"]
    after = figures(tmp_path, "a")
    assert (after.queued, after.octets, after.sent, after.error) == (1, 3, 2, "")
    assert after.oldest_at is not None


@pytest.mark.parametrize("keep, left", [(6, 3), (5, 2), (3, 1), (2, 0)])
def test_the_oldest_goes_when_there_is_too_much(backlog: EventBacklog, tmp_path: Path, keep: int, left: int):
    backlog.add([("a", ["1", "22", "333"]), ("b", ["1"])])

    dropped = backlog.bound("a", keep_s=60, keep_octets=keep)

    assert dropped == 3 - left
    assert [each.event for each in backlog.next("a", 9)] == ["1", "22", "333"][3 - left :]
    assert (figures(tmp_path, "a").dropped, figures(tmp_path, "a").queued) == (dropped, left)
    assert figures(tmp_path, "b").queued == 1


def test_what_is_too_old_goes(backlog: EventBacklog):
    backlog.add([("a", ["1"])])

    assert backlog.bound("a", keep_s=60, keep_octets=99) == 0
    assert backlog.bound("a", keep_s=-1, keep_octets=99) == 1
    assert backlog.next("a", 9) == []


def test_receivers_that_are_no_more_are_forgotten(backlog: EventBacklog, tmp_path: Path):
    backlog.add([("a", ["1", "2"]), ("b", ["1"])])

    assert backlog.keep_only(["b", "c"]) == {"a": 2}

    assert [each.name for each in standings(tmp_path / "events.db", timeout_s=1)] == ["b", "c"]
    assert backlog.next("a", 9) == []


def test_a_file_that_is_none_is_told(tmp_path: Path):
    (tmp_path / "events.db").write_bytes(b"nothing of the kind" * 100)

    with pytest.raises(EventsError, match="set it aside"):
        EventBacklog(tmp_path / "events.db").next("a", 1)
    assert standings(tmp_path / "other.db", timeout_s=1) == []
