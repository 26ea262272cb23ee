"""A server's figures, taken apart."""

import pytest

from lmtpd.cli.readings import parsed, quantile
from lmtpd.report.exposition import exposition
from lmtpd.report.metrics import Histogram


def reading(figures=None, histograms=None, at=1000.0):
    _, text = exposition(figures or {}, histograms or {}, accept="")
    return parsed(text.decode(), at=at)


def test_samples_are_added_up_by_their_labels():
    found = reading({"deliveries": {("delivered", "2xx", ""): 3, ("deferred", "4xx", "ledger"): 2}})

    assert found.total("deliveries_total") == 5
    assert found.total("deliveries_total", outcome="deferred") == 2
    assert found.total("deliveries_total", outcome="refused") == 0
    assert found.of("deliveries_total", outcome="refused") is None
    assert found.by("deliveries_total", "cause", reply="4xx") == {"ledger": 2}


@pytest.mark.parametrize(
    "part, expected", [(0.5, 0.001), (0.75, 0.00175), (0.25, 0.00075), (1.0, 0.0025), (0.0, 0.0005)]
)
def test_quantile_lies_on_a_straight_line_in_its_bucket(part, expected):
    found = reading(histograms={"phase_seconds": {("sync",): Histogram({"0.001": 2, "0.0025": 2}, 0.0)}})

    assert quantile(found, "phase_seconds", part, phase="sync") == pytest.approx(expected)


def test_quantile_of_the_last_bucket_is_its_lower_bound():
    found = reading(histograms={"phase_seconds": {("sync",): Histogram({"+Inf": 2}, 0.0)}})

    assert quantile(found, "phase_seconds", 0.5, phase="sync") == 60


def test_quantile_of_what_was_seen_since():
    first = reading(histograms={"phase_seconds": {("sync",): Histogram({"0.001": 100}, 0.0)}})
    then = reading(histograms={"phase_seconds": {("sync",): Histogram({"0.001": 100, "10": 10}, 0.0)}})

    assert quantile(then, "phase_seconds", 0.5, since=first, phase="sync") == pytest.approx(7.5)
    assert quantile(then, "phase_seconds", 0.5, since=then, phase="sync") == 0
    assert quantile(then, "phase_seconds", 0.5, phase="reply") == 0
