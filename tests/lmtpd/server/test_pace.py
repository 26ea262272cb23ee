"""The pace of a client."""

import pytest

from lmtpd.server.pace import Pace
from tests.support.clocks import Clock


def pace() -> tuple[Pace, Clock]:
    clock = Clock()
    one = Pace(100, 60.0, clock=clock)
    one.rest()
    assert not one.why_too_slow()  # it has begun
    return one, clock


@pytest.mark.parametrize("octets, is_too_slow", [(5999, True), (6000, False), (6001, False)])
def test_a_window_needs_so_many_octets(octets, is_too_slow):
    one, clock = pace()

    one.add(octets)
    clock.now += 60.0

    assert bool(one.why_too_slow()) is is_too_slow


@pytest.mark.parametrize("later_s, is_too_slow", [(59.0, False), (60.0, True), (61.0, True)])
def test_nobody_is_judged_before_the_window_ends(later_s, is_too_slow):
    one, clock = pace()

    one.add(1)
    clock.now += later_s

    assert bool(one.why_too_slow()) is is_too_slow


def test_a_fast_beginning_does_not_pay_for_the_rest():
    one, clock = pace()
    one.add(1_000_000)
    clock.now += 60.0
    assert not one.why_too_slow()

    one.add(1)
    clock.now += 60.0

    assert one.why_too_slow() == "1 octets in 60 s"


def test_what_is_complete_takes_no_time():
    one, clock = pace()

    clock.now += 50.0
    one.rest()
    assert not one.why_too_slow()
    clock.now += 50.0

    assert not one.why_too_slow()
