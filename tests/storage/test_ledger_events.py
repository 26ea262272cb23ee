"""Events in the ledger: pending with a record, and happened once."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from storage.ledger import Ledger, LedgerError, Record
from storage.ledger_events import EventsError, HappenedEvents
from storage.owners import Owner

ONE = Record(b"1" * 32, "/mail/a", "tmp1", "name1", "one")
TWO = Record(b"2" * 32, "/mail/b", "tmp2", "name2", "two")
SILENT = Record(b"3" * 32, "/mail/c", "tmp3", "name3")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(tmp_path / "ledger.db", Owner.of_this_process())
    yield ledger
    ledger.close()


@pytest.fixture
def source(tmp_path: Path) -> Iterator[HappenedEvents]:
    source = HappenedEvents(tmp_path / "ledger.db")
    yield source
    source.close()


def told(source: HappenedEvents) -> list[tuple[str | None, str | None, str]]:
    return [(each.maildir, each.name, each.event) for each in source.look(99)]


def test_nothing_has_happened_before_it_is_said(ledger: Ledger, source: HappenedEvents):
    assert told(source) == []

    ledger.intend([ONE, SILENT])
    before = told(source)
    ledger.happened([ONE.key, SILENT.key])

    assert before == []
    assert told(source) == [("/mail/a", "name1", "one")]


def test_it_happens_once_though_it_is_said_twice(ledger: Ledger, source: HappenedEvents):
    ledger.intend([ONE])
    ledger.happened([ONE.key])
    ledger.happened([ONE.key])

    ledger.release([ONE.key])
    ledger.intend([ONE])  # the retry
    ledger.happened([ONE.key])

    assert len(told(source)) == 1


def test_an_attempt_that_came_to_nothing_is_not_told(ledger: Ledger, source: HappenedEvents):
    ledger.intend([ONE])
    ledger.withdraw([ONE.key])
    ledger.flush()

    ledger.happened([ONE.key])
    ledger.prune(60)

    assert told(source) == []


def test_a_delivery_under_another_name_is_told_with_that(ledger: Ledger, source: HappenedEvents):
    ledger.intend([ONE])
    ledger.amend([replace(ONE, name="other", event="amended")])
    ledger.happened([ONE.key])

    assert told(source) == [("/mail/a", "other", "amended")]


def test_notes_have_no_file_and_are_written_on_return(ledger: Ledger, source: HappenedEvents):
    ledger.happened([], ["refused"])

    assert told(source) == [(None, None, "refused")]
    assert not ledger.has_pending


def test_notes_that_cannot_be_written_go_with_the_next_flush_up_to_a_bound(
    ledger: Ledger, source: HappenedEvents, monkeypatch: pytest.MonkeyPatch
):
    with monkeypatch.context() as patch:
        patch.setattr(ledger._file, "commit", _fail)
        for number in range(4):
            with pytest.raises(LedgerError):
                ledger.happened([], [str(number)])

    assert (ledger.bound_notes(4), ledger.bound_notes(3)) == (0, 1)
    assert ledger.has_pending
    ledger.flush()
    assert told(source) == [(None, None, str(number)) for number in (1, 2, 3)]


def test_what_a_dead_process_left_is_undecided(tmp_path: Path, ledger: Ledger):
    dead = Ledger(tmp_path / "ledger.db", replace(Owner.of_this_process(), boot="00000000"))
    dead.intend([ONE, SILENT])
    ledger.intend([TWO])

    assert ledger.undecided_events() == [ONE]
    ledger.recover()
    assert ledger.undecided_events() == [ONE]
    ledger.happened([ONE.key])
    assert ledger.undecided_events() == []


def test_what_could_not_be_written_is_written_before_its_record_goes(
    tmp_path: Path, ledger: Ledger, source: HappenedEvents, monkeypatch: pytest.MonkeyPatch
):
    ledger.intend([ONE])
    with monkeypatch.context() as patch:
        patch.setattr(ledger._file, "commit", _fail)
        with pytest.raises(LedgerError):
            ledger.happened([ONE.key])
    assert told(source) == []

    ledger.confirm([ONE.key])
    ledger.flush()

    assert told(source) == [("/mail/a", "name1", "one")]


def test_the_oldest_goes_when_nobody_takes_them(ledger: Ledger, source: HappenedEvents):
    ledger.happened([], ["1", "2", "3"])

    assert source.count() == 3
    assert ledger.bound_events(3) == 0
    assert ledger.bound_events(2) == 1
    assert source.count() == 2
    assert [event for *_, event in told(source)] == ["2", "3"]


def test_what_is_taken_over_goes(ledger: Ledger, source: HappenedEvents):
    ledger.happened([], ["1", "2", "3"])

    source.done(source.look(2))

    assert [event for *_, event in told(source)] == ["3"]


def test_a_damaged_ledger_is_told(tmp_path: Path, source: HappenedEvents):
    (tmp_path / "ledger.db").write_bytes(b"nothing of the kind" * 100)

    with pytest.raises(EventsError, match="set it aside"):
        source.look(1)


def _fail() -> None:
    raise OSError(5, "Input/output error")
