import threading
from collections.abc import Callable
from threading import Barrier, Thread
from typing import Any

import pytest

from storage.grouping import GroupedWork, WorkInterrupted
from tests.support.turns import Scene

DEADLINE_S = 10


@pytest.fixture
def scene(monkeypatch):
    return Scene(monkeypatch)


def test_a_thread_that_is_alone_does_its_work_itself():
    threads: list[Thread] = []

    def perform(items: list[int]) -> list[int]:
        threads.append(threading.current_thread())
        return [item + 1 for item in items]

    work = GroupedWork(perform)

    assert [work.submit(1), work.submit(2)] == [2, 3]
    assert threads == [threading.current_thread()] * 2


def test_work_without_results_returns_none():
    done: list[list[int]] = []
    work: GroupedWork[int, None] = GroupedWork(done.append)

    work.submit(1)
    work.submit(2)

    assert done == [[1], [2]]


def test_who_comes_during_a_turn_is_served_by_the_next_together(scene):
    scene.begin()
    scene.join_in(1, 2, 3)
    scene.end()

    assert scene.batches == [[0], [1, 2, 3]]
    assert scene.outcomes == {"t0": 0, "t1": 2, "t2": 4, "t3": 6}


def test_the_next_turn_is_led_by_one_of_those_who_wait(scene):
    scene.begin()
    scene.join_in(1, 2)
    scene.end()

    assert scene.leaders == ["t0", "t1"]


def test_a_group_works_again_when_nobody_waits(scene):
    scene.begin()
    scene.join_in(1)
    scene.end()

    assert scene.work.submit(5) == 10
    assert scene.batches == [[0], [1], [5]]


def test_followers_get_none_when_work_has_no_results(monkeypatch):
    scene = Scene(monkeypatch, lambda items: None)
    scene.begin()
    scene.join_in(1, 2)
    scene.end()

    assert scene.outcomes == {"t0": None, "t1": None, "t2": None}


def refuse_later(error: BaseException) -> Callable[[list[Any]], Any]:
    """Do the first batch well and raise for those that hold a 1 or a 2."""

    def answer(items: list[Any]) -> Any:
        if 1 in items or 2 in items:
            raise error
        return items

    return answer


def test_an_error_reaches_all_of_its_batch_and_nobody_else(monkeypatch):
    error = OSError(5, "broken", "file")
    scene = Scene(monkeypatch, refuse_later(error))
    scene.begin()
    scene.join_in(1, 2, 3)
    scene.end()

    assert scene.outcomes["t0"] == 0
    assert scene.outcomes["t1"] is error
    for name in ("t2", "t3"):
        told = scene.outcomes[name]
        assert (type(told), str(told), told.__cause__) == (OSError, str(error), error)
        assert told is not error


def test_an_error_keeps_what_it_carries(monkeypatch):
    error = OSError("odd")
    error.add_note("seen")
    scene = Scene(monkeypatch, refuse_later(error))
    scene.begin()
    scene.join_in(1, 2)
    scene.end()

    assert scene.outcomes["t2"].__notes__ == ["seen"]


class Uncopyable(Exception):
    def __init__(self, first: str, *, second: str) -> None:
        super().__init__(f"{first} {second}")


def test_an_error_that_cannot_be_copied_is_shared(monkeypatch):
    error = Uncopyable("a", second="b")
    scene = Scene(monkeypatch, refuse_later(error))
    scene.begin()
    scene.join_in(1, 2)
    scene.end()

    assert scene.outcomes["t1"] is scene.outcomes["t2"] is error


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), SystemExit(1)])
def test_a_leader_that_is_stopped_leaves_nobody_waiting(monkeypatch, stop):
    scene = Scene(monkeypatch, refuse_later(stop))
    scene.begin()
    scene.join_in(1, 2)
    scene.end()

    assert scene.outcomes["t1"] is stop
    assert isinstance(scene.outcomes["t2"], WorkInterrupted)
    assert scene.work.submit(7) == 7


def test_a_first_leader_that_fails_calls_the_next(monkeypatch):
    error = OSError("broken")

    def answer(items: list[Any]) -> Any:
        if 0 in items:
            raise error
        return items

    scene = Scene(monkeypatch, answer)
    scene.begin()
    scene.join_in(1, 2)
    scene.end()

    assert scene.outcomes == {"t0": error, "t1": 1, "t2": 2}


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_wrong_number_of_results_is_an_error_for_all(monkeypatch, count):
    scene = Scene(monkeypatch, lambda items: items if 0 in items else [0] * count)
    scene.begin()
    scene.join_in(1, 2)
    scene.end()

    assert [type(scene.outcomes[name]) for name in ("t1", "t2")] == [ValueError, ValueError]


def test_a_thread_interrupted_while_it_waits_leaves_the_others_alone(scene):
    scene.interruptions[1] = "while waiting"
    scene.begin()
    scene.join_in(1, 2, 3)
    scene.end()

    assert isinstance(scene.outcomes["t1"], KeyboardInterrupt)
    assert scene.leaders == ["t0", "t2"]
    assert (scene.outcomes["t2"], scene.outcomes["t3"]) == (4, 6)


def test_a_thread_interrupted_when_it_is_called_calls_another(scene):
    scene.interruptions[1] = "when called"
    scene.begin()
    scene.join_in(1, 2, 3)
    scene.end()

    assert isinstance(scene.outcomes["t1"], KeyboardInterrupt)
    assert scene.leaders == ["t0", "t2"]
    assert (scene.outcomes["t2"], scene.outcomes["t3"]) == (4, 6)


@pytest.mark.parametrize("moment", ["while waiting", "when called"])
def test_when_all_who_waited_have_left_the_group_is_free(scene, moment):
    scene.interruptions.update({1: moment, 2: moment})
    scene.begin()
    scene.join_in(1, 2)
    scene.end()

    assert [type(scene.outcomes[name]) for name in ("t1", "t2")] == [KeyboardInterrupt] * 2
    assert scene.work.submit(5) == 10


def test_no_item_is_lost_or_done_twice_and_turns_do_not_overlap():
    threads, rounds = 16, 300
    start = Barrier(threads)
    at_work = threading.Lock()
    seen: list[tuple[int, int]] = []
    results: list[list[tuple[int, int]]] = [[] for _ in range(threads)]

    def perform(items: list[tuple[int, int]]) -> list[tuple[int, int]]:
        assert at_work.acquire(blocking=False)
        seen.extend(items)
        at_work.release()
        return items

    work = GroupedWork(perform)

    def submit_all(number: int) -> None:
        start.wait(DEADLINE_S)
        for turn in range(rounds):
            results[number].append(work.submit((number, turn)))

    running = [Thread(target=submit_all, args=(number,), daemon=True) for number in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(60)

    assert results == [[(number, turn) for turn in range(rounds)] for number in range(threads)]
    assert len(seen) == len(set(seen)) == threads * rounds
