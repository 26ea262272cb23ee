"""A file system that keeps failing is left alone."""

import pytest

from lmtpd.delivery.breaker import Breaker, Fault
from tests.support.clocks import Clock

FAULT = Fault("[Errno 5] Input/output error", is_full=False)
ONE, OTHER = 1, 2


class Watched(Breaker):
    """A breaker that keeps what it tells."""

    def __init__(self, faults: int) -> None:
        self.told: list[tuple[str, int]] = []
        self.clock = Clock()
        super().__init__(
            faults,
            30.0,
            opened=lambda device, _: self.told.append(("opened", device)),
            closed=lambda device: self.told.append(("closed", device)),
            clock=self.clock,
        )


def fail(breaker: Breaker, times: int) -> None:
    for _ in range(times):
        breaker.failed(ONE, FAULT)


@pytest.mark.parametrize("faults, is_open", [(2, False), (3, True), (4, True)])
def test_as_many_faults_as_the_limit_open_it(faults, is_open):
    breaker = Watched(3)

    fail(breaker, faults)

    assert breaker.why_open(ONE) == (FAULT if is_open else None)
    assert breaker.told == [("opened", ONE)] * is_open


def test_a_delivery_in_between_begins_the_count_anew():
    breaker = Watched(3)

    fail(breaker, 2)
    breaker.worked(ONE)
    fail(breaker, 2)

    assert breaker.why_open(ONE) is None


def test_other_file_systems_are_not_concerned():
    breaker = Watched(1)

    fail(breaker, 1)

    assert breaker.why_open(OTHER) is None


@pytest.mark.parametrize("later_s, is_let_through", [(29.0, False), (30.0, True), (31.0, True)])
def test_after_the_pause_one_probe_is_let_through(later_s, is_let_through):
    breaker = Watched(1)
    fail(breaker, 1)

    breaker.clock.now += later_s

    assert (breaker.why_open(ONE) is None) is is_let_through
    assert breaker.why_open(ONE) == FAULT


def test_a_probe_that_works_closes_it():
    breaker = Watched(1)
    fail(breaker, 1)
    breaker.clock.now += 30.0
    breaker.why_open(ONE)

    breaker.worked(ONE)

    assert breaker.why_open(ONE) is None
    assert breaker.told == [("opened", ONE), ("closed", ONE)]


def test_after_a_probe_that_fails_the_next_is_due_a_pause_later():
    breaker = Watched(1)
    fail(breaker, 1)
    breaker.clock.now += 30.0
    breaker.why_open(ONE)

    breaker.clock.now += 20.0
    fail(breaker, 1)
    breaker.clock.now += 29.0
    refused = breaker.why_open(ONE)
    breaker.clock.now += 1.0

    assert refused == FAULT
    assert breaker.why_open(ONE) is None
    assert breaker.told == [("opened", ONE)]


def test_a_probe_that_comes_to_no_end_is_followed_by_another():
    breaker = Watched(1)
    fail(breaker, 1)

    for _ in range(3):
        breaker.clock.now += 30.0
        assert breaker.why_open(ONE) is None


def test_what_was_closed_counts_from_the_beginning():
    breaker = Watched(2)
    fail(breaker, 2)
    breaker.worked(ONE)

    fail(breaker, 1)

    assert breaker.why_open(ONE) is None


def test_deliveries_without_faults_before_them_are_nothing_new():
    breaker = Watched(1)

    breaker.worked(ONE)

    assert breaker.told == []
