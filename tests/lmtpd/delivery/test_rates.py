"""Token buckets."""

import pytest

from lmtpd.delivery.rates import Buckets
from tests.support.clocks import Clock


def buckets(per_minute: int, capacity: int = 100) -> tuple[Buckets, Clock]:
    clock = Clock()
    return Buckets(per_minute, capacity=capacity, clock=clock), clock


@pytest.mark.parametrize("asked, granted", [(59, 59), (60, 60), (61, 60)])
def test_a_minutes_worth_comes_at_once_and_no_more(asked, granted):
    limited, _ = buckets(60)

    assert sum(limited.take("a") for _ in range(asked)) == granted


@pytest.mark.parametrize("later_s, granted", [(0.5, 0), (1.0, 1), (2.0, 2), (60.0, 60), (3600.0, 60)])
def test_an_empty_bucket_fills_evenly_to_a_minutes_worth(later_s, granted):
    limited, clock = buckets(60)
    while limited.take("a"):
        pass

    clock.now += later_s

    assert sum(limited.take("a") for _ in range(100)) == granted


def test_asking_an_empty_bucket_takes_nothing_from_it():
    limited, clock = buckets(60)
    while limited.take("a"):
        pass

    answers = []
    for _ in range(4):
        clock.now += 0.25
        answers.append(limited.take("a"))

    assert answers == [False, False, False, True]


def test_others_have_buckets_of_their_own():
    limited, _ = buckets(1)
    limited.take("a")

    assert not limited.take("a")
    assert limited.take("b")


def test_a_token_given_back_can_be_taken_again():
    limited, _ = buckets(1)
    limited.take("a")

    limited.give_back("a")
    limited.give_back("never seen")

    assert limited.take("a")


@pytest.mark.parametrize("others, is_forgotten", [(98, False), (99, False), (100, True)])
def test_the_bucket_that_has_rested_longest_makes_room(others, is_forgotten):
    limited, _ = buckets(1, capacity=100)
    limited.take("a")

    for number in range(others):
        limited.take(str(number))

    assert limited.take("a") is is_forgotten
    assert len(limited._buckets) <= 100
