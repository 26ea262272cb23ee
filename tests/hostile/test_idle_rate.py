"""What the measurement makes of its turns, and a short one: the crowd does not bring deliveries to a stop."""

import resource
import tempfile
from pathlib import Path

import pytest

from tests.hostile.idle_rate import Pair, TooFewDescriptors, enough_descriptors, lost, measure, servers
from tests.support.requirements import need


def test_what_is_lost_is_the_median_over_pairs():
    pairs = [Pair(1000, 950), Pair(500, 400), Pair(2000, 2100)]

    assert lost(pairs) == pytest.approx(0.05)


def test_a_lower_limit_of_descriptors_is_said_and_not_fewer_connections_taken(monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 10_999))
    monkeypatch.setattr(resource, "setrlimit", lambda *_: None)

    enough_descriptors(4_999)
    with pytest.raises(TooFewDescriptors, match=r"5,000 idle .* want 11,000 descriptors.* 10,999"):
        enough_descriptors(5_000)


@pytest.mark.system
@pytest.mark.slow
@pytest.mark.serial
def test_half_of_the_rate_is_not_lost_beside_idle_connections():
    need("cc")
    enough_descriptors(1000)
    folder = tempfile.TemporaryDirectory(prefix="lmtpd-idle-", dir="/var/tmp")
    with folder as name, servers(Path(name), 1000) as both:
        pairs = list(measure(both, pairs=7, messages=100))

    assert lost(pairs) < 0.5
