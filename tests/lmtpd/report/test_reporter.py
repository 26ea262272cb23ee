"""The Reporter: what is written, when, and what a stuck log costs (reports, never mail)."""

import json

import pytest

from lmtpd.report.counting import DISTINCT_CAUSES
from lmtpd.report.records import Level
from tests.support.reports import WAIT_S, Rows, report, reporter


def test_one_line_for_each_recipient(log):
    teller = reporter(log)
    teller.start()

    for number in range(3):
        teller.recipient(report(number))
    teller.close()

    lines = log.read().splitlines()
    assert [line.split()[1] for line in lines] == ["delivered"] * 3
    assert [line.split()[2] for line in lines] == ["id=id0", "id=id1", "id=id2"]


def test_before_the_start_everything_is_written_at_once(log):
    teller = reporter(log)

    teller.recipient(report())
    teller.event(Level.NOTICE, "started", pid=7)

    first, second = log.read().splitlines()
    assert first.endswith('delivered id=id0 from=<> to=<bob@example.net> reply="250 2.0.0 x"')
    assert second.endswith("started level=notice pid=7")


def test_event_does_not_wait_for_others(log):
    teller = reporter(log)
    teller.start()

    teller.event(Level.ALERT, "ledger_failed", error="disk I/O error")

    assert log.read_until("\n").endswith('ledger_failed level=alert error="disk I/O error"\n')
    teller.close()


def test_json_lines(log):
    teller = reporter(log, log_format="json")

    teller.recipient(report(octets=7))
    teller.event(Level.INFO, "reloaded", file="/etc/x")

    first, second = map(json.loads, log.read().splitlines())
    assert (first["event"], first["to"], first["octets"]) == ("delivered", "<bob@example.net>", 7)
    assert (second["event"], second["level"], second["file"]) == ("reloaded", "info", "/etc/x")


@pytest.mark.parametrize(
    "outcome, priority", [("delivered", 6), ("recognised", 6), ("deferred", 4), ("refused", 5)]
)
def test_journal_gets_priorities_and_no_time(log, outcome, priority):
    teller = reporter(log, target="journal")

    teller.recipient(report(outcome=outcome))

    assert log.read().startswith(f"<{priority}>{outcome} id=id0")


def test_json_for_the_journal_has_the_prefix_too(log):
    teller = reporter(log, target="journal", log_format="json")

    teller.event(Level.ERROR, "bad")

    assert log.read().startswith('<3>{"at":')


def raise_something():
    raise ValueError("with a\nline break \x1b[31m")


@pytest.mark.parametrize("target, prefix", [("stderr", ""), ("journal", "<3>")])
def test_bug_is_told_with_its_traceback(log, target, prefix):
    teller = reporter(log, target=target)

    try:
        raise_something()
    except ValueError as exc:
        teller.bug(exc, peer="unix")

    first, *rest = log.read().splitlines()
    assert 'bug level=error error="ValueError: with a\\nline break \\x1b[31m" peer=unix' in first
    assert rest[0] == f"{prefix}  | Traceback (most recent call last):"
    assert any("in raise_something" in line for line in rest)
    assert all(line.startswith(f"{prefix}  | ") and line.isprintable() for line in rest)


def test_bug_in_json_is_one_line(log):
    teller = reporter(log, log_format="json")

    try:
        raise_something()
    except ValueError as exc:
        teller.bug(exc)

    (line,) = log.read().splitlines()
    assert "in raise_something" in json.loads(line)["traceback"]


def test_counts_by_outcome_and_cause(log):
    teller = reporter(log)

    for outcome, cause in [
        ("delivered", ""),
        ("deferred", "ledger"),
        ("delivered", ""),
        ("deferred", "disk_full"),
    ]:
        teller.recipient(report(outcome=outcome, cause=cause))

    assert teller.counts() == {("delivered", ""): 2, ("deferred", "ledger"): 1, ("deferred", "disk_full"): 1}


def test_counts_do_not_grow_without_limit(log):
    teller = reporter(log)
    teller.start()

    for number in range(DISTINCT_CAUSES + 10):
        teller.recipient(report(outcome="deferred", cause=f"cause {number}"))
        log.read()
    teller.close()

    counts = teller.counts()
    assert len(counts) == DISTINCT_CAUSES + 1
    assert counts["deferred", "other"] == 10


def test_log_that_nobody_reads_delays_nothing_and_loses_the_oldest(log, monkeypatch):
    monkeypatch.setattr("lmtpd.report.reporter._PATIENCE_S", 0)
    teller, rows = reporter(log, capacity=10), Rows()
    log.fill()
    teller.start(rows)

    for number in range(25):
        teller.recipient(report(number))
    assert rows.added.wait(WAIT_S)  # the history does not wait for the log

    assert teller.dropped_lines == 15
    text = log.read_until("log_lines_dropped")
    teller.close()
    text += log.read()
    assert "log_lines_dropped level=error count=15" in text
    assert "id=id14 " not in text
    assert "id=id15 " in text
    assert "id=id24 " in text


def test_close_with_a_log_that_nobody_reads_comes_to_an_end(log, monkeypatch):
    monkeypatch.setattr("lmtpd.report.reporter._PATIENCE_S", 0)
    teller = reporter(log)
    log.fill()
    teller.start()
    teller.recipient(report())

    teller.close()
    teller.close()

    assert "id=id0" not in log.read()


def test_report_that_cannot_be_written_does_not_stop_the_others(log):
    class Unprintable:
        def __str__(self):
            raise RuntimeError("no")

    teller = reporter(log)
    teller.start()

    teller.event(Level.INFO, "strange", value=Unprintable())
    teller.recipient(report(1))
    teller.close()

    first, second = log.read().splitlines()
    assert first == "bug error=RuntimeError in=report"
    assert "id=id1" in second


def test_after_the_end_nothing_is_lost(log):
    teller = reporter(log)
    teller.start(Rows())
    teller.close()

    teller.event(Level.NOTICE, "stopped")

    assert log.read().endswith("stopped level=notice\n")
    assert (teller.dropped_lines, teller.dropped_rows) == (0, 0)
