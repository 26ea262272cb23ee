"""The flag, the deadline and the descriptor of a drain."""

import math
import select
import time

import pytest

from lmtpd.server.drain import Drain


@pytest.fixture
def drain():
    drain = Drain()
    yield drain
    drain.close()


def is_readable(fd: int) -> bool:
    return bool(select.select([fd], [], [], 0)[0])


def test_nothing_has_begun(drain):
    assert not drain.begun
    assert not is_readable(drain.fd)


def test_the_descriptor_stays_readable_for_all(drain):
    drain.begin(10)

    assert drain.begun
    assert is_readable(drain.fd)
    assert is_readable(drain.fd)


def test_pressing_comes_before_the_end(drain):
    assert drain.presses_at == drain.ends_at == math.inf

    drain.begin(10)

    assert time.monotonic() < drain.presses_at < drain.ends_at <= time.monotonic() + 10


def test_the_shortest_of_several_times_holds(drain):
    drain.begin(100)
    first = (drain.presses_at, drain.ends_at)

    drain.begin(200)
    assert (drain.presses_at, drain.ends_at) == first
    drain.begin(1)
    assert drain.ends_at < first[0]
