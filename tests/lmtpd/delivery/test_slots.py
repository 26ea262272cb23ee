"""Who is at work in a mailbox."""

import threading
from contextlib import ExitStack

import pytest

from lmtpd.delivery.slots import Slot, Slots
from tests.support.clocks import Clock


class Workers:
    """Threads that are in a slot for as long as the block lasts."""

    def __init__(self, slot: Slot, count: int) -> None:
        self._slot = slot
        self._inside = threading.Barrier(count + 1)
        self._leave = threading.Event()
        self._threads = [threading.Thread(target=self._work) for _ in range(count)]

    def __enter__(self) -> None:
        for thread in self._threads:
            thread.start()
        self._inside.wait(10)

    def __exit__(self, *_: object) -> None:
        self._leave.set()
        for thread in self._threads:
            thread.join(10)

    def _work(self) -> None:
        with self._slot:
            self._inside.wait(10)
            self._leave.wait(10)


@pytest.mark.parametrize("at_work, is_stuck", [(2, False), (3, True), (4, True)])
def test_a_mailbox_is_stuck_with_as_many_threads_as_the_limit(at_work, is_stuck):
    clock = Clock()
    slots = Slots(3, 2.0, clock=clock)
    slot = slots.of("mailbox")

    with Workers(slot, at_work):
        clock.now += 2.0

        assert bool(slots.why_stuck(slot)) is is_stuck


@pytest.mark.parametrize("age_s, is_stuck", [(1.5, False), (2.0, True), (2.5, True)])
def test_a_busy_mailbox_is_not_stuck_before_its_slowest_is_slow(age_s, is_stuck):
    clock = Clock()
    slots = Slots(1, 2.0, clock=clock)
    slot = slots.of("mailbox")

    with slot:
        clock.now += age_s

        assert bool(slots.why_stuck(slot)) is is_stuck
    assert not slots.why_stuck(slot)


def test_a_call_that_fails_leaves_the_slot():
    slots = Slots(1, 0.0)
    slot = slots.of("mailbox")

    with pytest.raises(KeyError), slot:
        raise KeyError

    assert slot.at_work == 0


def test_the_same_mailbox_is_the_same_slot_as_long_as_somebody_has_it():
    slots = Slots(1, 0.0)
    one = slots.of("one")

    assert slots.of("one") is one
    assert slots.of("other") is not one


def test_slots_that_nobody_has_are_forgotten():
    slots = Slots(1, 0.0)

    with ExitStack() as stack:
        for number in range(100):
            stack.enter_context(slots.of(number))
        assert len(slots._slots) == 100

    del stack
    assert len(slots._slots) == 0
