"""The history behind the replies, and what it costs when it fails."""

from tests.support.reports import WAIT_S, Rows, report, reporter


def test_history_gets_every_report(log):
    teller, rows = reporter(log), Rows()
    teller.start(rows)

    reports = [report(number) for number in range(5)]
    for each in reports:
        teller.recipient(each)
    teller.close()

    assert rows.rows == reports


def test_broken_history_is_one_alarm_and_comes_again(log):
    teller, rows = reporter(log), Rows()
    rows.error = RuntimeError("database is locked")
    teller.start(rows)
    teller.recipient(report(1))
    assert rows.failed.wait(WAIT_S)
    rows.failed.clear()
    teller.recipient(report(2))

    assert rows.failed.wait(WAIT_S)  # tried again
    rows.error = None
    assert rows.added.wait(WAIT_S)
    teller.close()

    assert [each.id for each in rows.rows] == ["id1", "id2"]
    text = log.read()
    assert text.count('history_failed level=alert error="RuntimeError: database is locked"') == 1
    assert text.count("history_recovered level=notice dropped=0") == 1


def test_broken_history_loses_the_oldest_and_says_how_many(log):
    teller, rows = reporter(log, capacity=3), Rows()
    rows.error = OSError("no")
    teller.start(rows)
    for number in range(5):
        teller.recipient(report(number))
    assert rows.failed.wait(WAIT_S)
    assert teller.dropped_rows == 2

    rows.error = None
    assert rows.added.wait(WAIT_S)
    teller.close()

    assert [each.id for each in rows.rows] == ["id2", "id3", "id4"]
    assert "history_recovered level=notice dropped=2" in log.read()


def test_rows_that_a_broken_history_has_at_the_end_are_counted(log):
    teller, rows = reporter(log), Rows()
    rows.error = OSError("no")
    teller.start(rows)
    teller.recipient(report(1))
    teller.recipient(report(2))

    teller.close()

    assert "history_lost level=error count=2" in log.read()
