"""The threads that take what has gathered: all of it, at once, and nothing is kept."""

import threading
import weakref
from collections.abc import Sequence

import pytest

from lmtpd.delivery.committer import Committer
from tests.support.polling import wait_for

DEADLINE_S = 10.0


class Item:
    """What is handed in."""


def test_what_gathers_is_dealt_with_together_up_to_a_limit_and_before_the_end():
    gate, over = threading.Event(), threading.Event()
    turns: list[int] = []

    def deal_with(items: Sequence[Item]) -> None:
        assert gate.wait(DEADLINE_S)
        turns.append(len(items))
        if sum(turns) == 6:
            over.set()

    committer = Committer(deal_with, threads=1, at_most=3)
    committer.put(Item())
    wait_for(committer._queue.empty, "the first turn")
    for _ in range(5):
        committer.put(Item())
    committer.close()
    gate.set()

    assert over.wait(DEADLINE_S)
    assert turns == [1, 3, 2]


def test_at_rest_it_keeps_nothing_of_its_last_turn():
    committer: Committer[Item] = Committer(lambda _: None, threads=1, at_most=3)
    item = Item()
    watched = weakref.ref(item)

    committer.put(item)
    del item

    wait_for(lambda: watched() is None, "its end")
    committer.close()


@pytest.mark.parametrize("can_be_had", [0, 1])
def test_one_thread_is_enough_and_none_too_few(monkeypatch, can_be_had: int):
    start = threading.Thread.start
    started: list[threading.Thread] = []
    done = threading.Event()

    def start_some(thread: threading.Thread) -> None:
        if len(started) == can_be_had:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_some)
    if not can_be_had:
        with pytest.raises(RuntimeError):
            Committer(lambda _: None, threads=2, at_most=3)
        return
    committer: Committer[Item] = Committer(lambda _: done.set(), threads=2, at_most=3)

    committer.put(Item())

    assert done.wait(DEADLINE_S)
    committer.close()
    started[0].join(DEADLINE_S)
    assert not started[0].is_alive()
