import sqlite3
from dataclasses import replace
from multiprocessing import get_context

import pytest

from storage.quota_state import Notice, QuotaState, QuotaStateError, Remembered

NOTICE = Notice(0, "/m", "a@example.org", 80, 5.0, 800, 8, "1000")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "quota.db"


def test_a_mailbox_is_full_since_it_was_first_found_so_over_restarts(path):
    first = QuotaState(path)
    assert first.is_full("/m", 10.0) == 10.0
    first.close()

    assert QuotaState(path).is_full("/m", 20.0) == 10.0


def test_room_ends_it_and_leaves_nothing_behind(path):
    state = QuotaState(path)
    state.is_full("/m", 10.0)

    state.has_room("/m")

    assert state.all() == {}
    assert state.is_full("/m", 20.0) == 20.0


@pytest.mark.parametrize(
    "change",
    [
        lambda state, telling: state.is_full("/m", 10.0, telling=telling),
        lambda state, telling: state.has_room("/n", telling=telling),
        lambda state, telling: state.change_level(0, NOTICE, is_told=True, telling=telling),
    ],
    ids=["full", "room", "level"],
)
def test_a_change_is_told_before_it_is_written_and_once(path, change):
    state, told = QuotaState(path), []
    state.is_full("/n", 5.0)
    before = state.all()

    def fail():
        told.append("killed")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        change(state, fail)
    unchanged = state.all() == before
    for _ in range(2):
        change(state, lambda: told.append("told"))

    assert unchanged
    assert told == ["killed", "told"]


def test_a_level_is_changed_by_one_of_those_who_see_it(path):
    states = [QuotaState(path) for _ in range(3)]

    changed = [state.change_level(0, NOTICE, is_told=True) for state in states]

    assert changed == [True, False, False]
    assert states[2].all() == {"/m": Remembered(None, 80, "a@example.org")}
    (notice,) = states[1].notices()
    assert notice == Notice(notice.id, "/m", "a@example.org", 80, 5.0, 800, 8, "1000")


def test_room_and_level_are_remembered_apart(path):
    state = QuotaState(path)
    state.is_full("/m", 10.0, "a@example.org")
    state.change_level(0, NOTICE, is_told=False)

    state.has_room("/m")
    assert state.all() == {"/m": Remembered(None, 80, "a@example.org")}
    assert state.notices() == []
    state.change_level(80, replace(NOTICE, level=0), is_told=False)

    assert state.all() == {}


def test_a_notice_stays_until_it_was_told(path):
    state = QuotaState(path)
    state.change_level(0, NOTICE, is_told=True)
    state.change_level(80, replace(NOTICE, level=95), is_told=True)
    first, second = QuotaState(path).notices()

    state.told(first)

    assert state.notices() == [second]
    assert (first.level, second.level) == (80, 95)


def _change(path, queue):
    queue.put(QuotaState(path).change_level(0, NOTICE, is_told=True))


def test_of_several_processes_one_changes_it(path):
    context = get_context("fork")
    queue = context.Queue()
    processes = [context.Process(target=_change, args=(path, queue)) for _ in range(4)]
    for process in processes:
        process.start()

    answers = [queue.get(timeout=30) for _ in processes]

    for process in processes:
        process.join(30)
    assert sorted(answers) == [False, False, False, True]


def test_nothing_is_made_by_looking(path):
    assert QuotaState(path).look() == {}
    assert not path.exists()


def test_a_damaged_file_is_told_with_what_to_do(path):
    path.write_bytes(b"no database at all, but long enough to be read as one" * 100)

    with pytest.raises(QuotaStateError, match="set it aside and a new one is made: mkdir"):
        QuotaState(path).all()


def test_a_file_that_cannot_be_opened_is_told(path):
    path.mkdir()

    with pytest.raises(QuotaStateError):
        QuotaState(path).is_full("/m", 1.0)


def test_after_an_error_it_goes_on(path):
    state = QuotaState(path)
    state.is_full("/m", 1.0)
    with sqlite3.connect(path) as foreign:
        foreign.execute("ALTER TABLE mailbox RENAME TO hidden")
    with pytest.raises(QuotaStateError):
        state.all()
    with sqlite3.connect(path) as foreign:
        foreign.execute("ALTER TABLE hidden RENAME TO mailbox")

    assert state.all() == {"/m": Remembered(1.0, 0)}
