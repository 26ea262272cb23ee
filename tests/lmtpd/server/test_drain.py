"""The flag, the deadline and the descriptor of a drain."""

import math
import select

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
    drain.begin()

    assert drain.begun
    assert is_readable(drain.fd)
    assert is_readable(drain.fd)
    assert drain.ends_at == math.inf


def test_the_first_of_several_deadlines_holds(drain):
    drain.begin(100)
    first = drain.ends_at

    drain.begin(200)
    assert drain.ends_at == first
    drain.begin(1)
    assert drain.ends_at < first
