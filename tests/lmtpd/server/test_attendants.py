"""Children that serve no client: made, renewed, replaced."""

import math
import os
import time

import pytest

from lmtpd.config import load
from lmtpd.server import attendants
from lmtpd.server.attendants import LONGEST_PAUSE_S, PAUSE_S, Attendant
from tests.support.configs import MAILBOXES
from tests.support.polling import wait_for

CONFIG = load(None, [MAILBOXES])


def waits_for_its_end(control):
    control.recv(1)
    return 0


def ended(attendant):
    (child,) = attendant.children
    wait_for(lambda: child.exit_code() is not None, "the end of the child")
    child.control.close()


def pause_of(attendant):
    return attendant.starts_at - time.monotonic()


def test_it_is_due_until_it_lives():
    attendant = Attendant("x", lambda config: waits_for_its_end)
    assert attendant.starts_at <= time.monotonic()

    attendant.start(CONFIG, inherited=[])

    assert attendant.starts_at == math.inf
    attendant.end()
    ended(attendant)
    assert not attendant.bury()


def test_one_that_has_nothing_to_do_is_not_made():
    attendant = Attendant("x", lambda config: None)

    attendant.start(CONFIG, inherited=[])

    assert attendant.children == []
    assert attendant.starts_at == math.inf
    attendant.renew()
    assert attendant.starts_at <= time.monotonic()


def test_one_that_dies_is_replaced_later_each_time():
    attendant = Attendant("x", lambda config: lambda control: os.EX_SOFTWARE)
    pauses = []
    for _ in range(3):
        attendant.start(CONFIG, inherited=[])
        ended(attendant)
        assert attendant.bury()
        pauses.append(pause_of(attendant))

    assert pauses == [pytest.approx(PAUSE_S * 2**number, abs=1) for number in range(3)]


def test_one_that_lived_for_long_is_replaced_soon(monkeypatch):
    attendant = Attendant("x", lambda config: lambda control: os.EX_SOFTWARE)
    monkeypatch.setattr(attendants, "LONGEST_PAUSE_S", -1.0)
    for _ in range(2):
        attendant.start(CONFIG, inherited=[])
        ended(attendant)
        attendant.bury()
        monkeypatch.setattr(attendants, "LONGEST_PAUSE_S", 0.0)

    assert pause_of(attendant) == pytest.approx(PAUSE_S, abs=1)
    assert LONGEST_PAUSE_S > PAUSE_S


def test_renewed_means_another_one_at_once():
    attendant = Attendant("x", lambda config: waits_for_its_end)
    attendant.start(CONFIG, inherited=[])

    attendant.renew()
    ended(attendant)

    assert not attendant.bury()
    assert attendant.starts_at <= time.monotonic()
