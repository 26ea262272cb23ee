"""From reports to counters."""

from email.utils import formatdate

import pytest

from lmtpd.report.counting import Counts
from lmtpd.report.metrics import Histogram, collected
from lmtpd.report.records import Level
from lmtpd.report.tally import Sheet
from tests.support.reports import AT, report


def counted(*reports):
    counts, sheet = Counts(), Sheet()
    counts.move_to(sheet)
    for each in reports:
        counts.report(each)
    return collected(sheet.read().items())


def test_deliveries_by_reply_class_and_cause():
    figures, _ = counted(
        report(),
        report(),
        report(outcome="recognised"),
        report(outcome="deferred", reply="452 4.2.2 Full", cause="mailbox_full"),
        report(outcome="refused", reply="550 5.1.1 No", cause="unknown"),
        report(outcome="dropped", reply="", cause="client_gone"),
    )

    assert figures["deliveries"] == {
        ("delivered", "2xx", ""): 2,
        ("recognised", "2xx", ""): 1,
        ("deferred", "4xx", "mailbox_full"): 1,
        ("refused", "5xx", "unknown"): 1,
        ("dropped", "", "client_gone"): 1,
    }
    assert figures["retries_recognised"] == {(): 1}
    assert figures["quota_refusals"] == {(): 1}


def test_what_recipients_share_is_counted_once():
    phases = {"stage": 0.3, "sync": 2.5}

    figures, histograms = counted(
        report(octets=5000, phases_ms=phases),
        report(octets=5000, phases_ms=phases, is_last=True),
    )

    assert figures["messages"] == {(): 1}
    assert histograms["message_octets"] == {(): Histogram({"16384": 1}, 5000)}
    assert histograms["phase_seconds"] == {
        ("stage",): Histogram({"0.0005": 1}, 0.0003),
        ("sync",): Histogram({"0.0025": 1}, 0.0025),
    }


@pytest.mark.parametrize(
    "outcome, cause, phase",
    [
        ("dropped", "client_gone", "receive"),
        ("deferred", "client_gone", "barrier"),
        ("deferred", "cancelled", "barrier"),
        ("deferred", "too_late", "barrier"),
    ],
)
def test_aborts_by_phase(outcome, cause, phase):
    figures, _ = counted(
        report(outcome=outcome, cause=cause), report(outcome=outcome, cause=cause, is_last=True)
    )

    assert figures["aborts"] == {(phase,): 1}


@pytest.mark.parametrize(
    "date, bucket",
    [
        (formatdate(AT - 4), "5"),
        (formatdate(AT - 4) + " (UTC)", "5"),
        ("Tue, 24 Nov 2026 05:00:00 -0500", "60"),
        (formatdate(AT - 4).replace("-0000", "+0000"), "5"),
        (formatdate(AT + 30), "0.1"),  # clocks differ a little
        (formatdate(AT - 10**7), "+Inf"),
        (formatdate(AT + 3600), None),
        ("yesterday", None),
        ("Tue, 99 Nov 2026 99:99:99 +9999999999999999", None),
        ("", None),
    ],
)
def test_age_of_a_message(date, bucket):
    at = AT if "05:00:00" not in date else 1_795_514_400.0 + 60
    _, histograms = counted(report(at=at, received=date, is_last=True))

    found = histograms.get("queue_age_seconds", {}).get((), Histogram())
    assert found.buckets == ({bucket: 1} if bucket else {})


def test_last_time_of_an_outcome_is_the_latest_of_all_processes():
    sheets = [Sheet(), Sheet()]
    for sheet, at in zip(sheets, (AT + 5, AT), strict=True):
        counts = Counts()
        counts.move_to(sheet)
        counts.report(report(at=at))

    figures, _ = collected(entry for sheet in sheets for entry in sheet.read().items())

    assert figures["delivery_last_timestamp_seconds"] == {("delivered", ""): AT + 5}


def test_what_was_counted_before_there_was_a_sheet_moves_with_it():
    counts, sheet = Counts(), Sheet()
    counts.event("started", Level.NOTICE)

    counts.move_to(sheet)
    counts.event("started", Level.NOTICE)

    assert sheet.read() == {("events", "started", "notice"): 2.0}


def test_cause_too_long_to_count_is_other():
    figures, _ = counted(report(outcome="deferred", reply="451 x", cause="c" * 21))

    assert figures["deliveries"] == {("deferred", "4xx", "other"): 1}


def test_unknown_names_are_left_out():
    assert collected([(("overflow",), 1.0)]) == (
        {"deliveries": {}, "retries_recognised": {(): 0}, "quota_refusals": {(): 0}},
        {},
    )
