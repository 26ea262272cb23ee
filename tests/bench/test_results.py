"""Ratios, targets and what is made of them."""

import json
from xml.etree import ElementTree

import pytest

from tests.bench.chart import chart
from tests.bench.results import DOVECOT, FLOOR, OURS, Line, Target, as_json
from tests.bench.table import number, promises

FACTS = {"processors": "2 x <fast> & cheap", "file system": "ext4", "kernel": "Linux"}


def line(*targets, **samples):
    made = Line("a", "small & <quick>", "messages/s", targets)
    for system, values in samples.items():
        for value in values:
            made.add(system, value)
    return made


def test_ratio_is_the_median_over_pairs_not_the_ratio_of_medians():
    measured = line(**{OURS: [100, 30, 600], DOVECOT: [50, 10, 100]})

    assert measured.ratio(OURS, DOVECOT) == 3
    assert measured.median(OURS) == 100


def test_sample_without_a_partner_is_no_pair():
    assert line(**{OURS: [100, 7], DOVECOT: [50]}).ratio(OURS, DOVECOT) == 2


def test_what_was_not_measured_has_no_ratio():
    measured = line(**{DOVECOT: [50]})

    assert measured.ratio(OURS, DOVECOT) is None
    assert measured.median(OURS) is None


def test_difference_below_zero_has_no_ratio():
    assert line(**{OURS: [1.0], DOVECOT: [-0.5]}).ratio(OURS, DOVECOT) is None


@pytest.mark.parametrize(
    "target, met",
    [
        (Target(at_least=2.0, of=DOVECOT), True),
        (Target(at_least=2.1, of=DOVECOT), False),
        (Target(at_most=100.0), True),
        (Target(at_most=99.0), False),
        (Target(at_least=0.5, of=FLOOR), None),
    ],
    ids=str,
)
def test_target_is_met_or_missed_or_not_measured(target, met):
    assert line(target, **{OURS: [100], DOVECOT: [50]}).meets(target) is met


def test_promises_tell_the_fate_of_each_target():
    measured = line(
        Target(at_least=6.0, of=DOVECOT), Target(at_least=0.5, of=FLOOR), **{OURS: [100], DOVECOT: [50]}
    )

    assert promises(measured) == ">= 6 x Dovecot: MISSED\n>= 0.5 x floor: not measured"


@pytest.mark.parametrize(
    "value, text", [(None, ""), (0.5, "0.50"), (-0.29, "-0.29"), (12.34, "12.3"), (12345.6, "12,346")]
)
def test_numbers_are_written_with_three_digits_or_so(value, text):
    assert number(value) == text


def test_json_holds_every_sample():
    written = as_json(FACTS, [line(Target(at_most=9.0), **{OURS: [1, 2]})])

    (entry,) = json.loads(json.dumps(written))["lines"]
    assert entry["samples"] == {OURS: [1, 2]}
    assert entry["targets"] == [{"target": "<= 9", "met": True}]


def test_chart_is_well_formed_and_names_what_it_shows():
    drawn = chart(FACTS, [line(**{OURS: [100], DOVECOT: [50], FLOOR: [200]})])

    texts = [element.text for element in ElementTree.fromstring(drawn).iter() if element.text]
    assert "(a) small & <quick>" in texts
    assert "100   (2.00 x Dovecot)" in texts


def test_chart_leaves_out_what_is_not_a_rate():
    memory = Line("g", "memory", "MB", samples={OURS: [40.0]})

    assert "memory" not in chart(FACTS, [memory])
