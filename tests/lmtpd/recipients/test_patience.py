"""Deadlines for calls that have none."""

import threading
import time

import pytest

from lmtpd.recipients.patience import NoAnswer, Patience


def test_what_comes_back_in_time_is_returned_or_raised():
    patience = Patience(at_once=1, wait_s=10)

    assert patience.call(lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        patience.call(lambda: 1 // 0)


def test_whoever_asks_goes_on_at_the_deadline():
    end = threading.Event()
    patience = Patience(at_once=2, wait_s=0.05)
    began = time.monotonic()

    with pytest.raises(NoAnswer, match=r"no answer within 0\.05 s"):
        patience.call(end.wait)

    assert time.monotonic() - began < 5
    end.set()


def test_calls_that_hang_are_limited_in_number_and_free_their_place_when_they_end():
    end, ended = threading.Event(), threading.Event()
    patience = Patience(at_once=1, wait_s=0.05)

    def hang() -> None:
        end.wait()
        ended.set()

    with pytest.raises(NoAnswer):
        patience.call(hang)
    with pytest.raises(NoAnswer, match="1 questions have been waiting"):
        patience.call(lambda: 3)
    end.set()
    assert ended.wait(10)

    assert Patience.call(_longer(patience), lambda: 3) == 3


def _longer(patience: Patience) -> Patience:
    patience._wait_s = 10
    return patience
