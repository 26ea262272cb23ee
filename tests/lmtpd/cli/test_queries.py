"""What a query of `lmtpd trace` may mean."""

import time

import pytest

from lmtpd.cli.failures import Failure
from lmtpd.cli.queries import questions

NOW = 1_795_514_400.0  # 2026-11-24T10:00:00 UTC
DAY = 86_400.0


@pytest.fixture(autouse=True)
def utc(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    "text, expected",
    [
        (
            "4XyZ12abcDz",
            [
                {"queue_id": "4XyZ12abcDz"},
                {"transaction_id": "4XyZ12abcDz"},
                {"file": "4XyZ12abcDz"},
                {"address": "4XyZ12abcDz"},
            ],
        ),
        ("<1@example.org>", [{"message_id": "<1@example.org>"}, {"address": "1@example.org"}]),
        ("a@example.org", [{"address": "a@example.org"}, {"message_id": "<a@example.org>"}]),
        (" a@example.org ", [{"address": "a@example.org"}, {"message_id": "<a@example.org>"}]),
        ("1764.M1P2Q3Rabc.mx,S=1,W=2:2,S", [{"file": "1764.M1P2Q3Rabc.mx,S=1,W=2:2,S"}]),
        ("/srv/mail/a/new/x", [{"file": "/srv/mail/a/new/x"}]),
        (
            "postmaster",
            [
                {"queue_id": "postmaster"},
                {"transaction_id": "postmaster"},
                {"file": "postmaster"},
                {"address": "postmaster"},
            ],
        ),
        ("30s", [{"since": NOW - 30}]),
        ("5m", [{"since": NOW - 300}]),
        ("1h", [{"since": NOW - 3600}]),
        ("7d", [{"since": NOW - 7 * DAY}]),
        ("2w", [{"since": NOW - 14 * DAY}]),
        ("5D", [{"queue_id": "5D"}, {"transaction_id": "5D"}, {"file": "5D"}, {"address": "5D"}]),
        ("2026-11-24", [{"since": NOW - 36_000, "until": NOW - 36_000 + DAY}]),
        ("2026-11-24T10", [{"since": NOW, "until": NOW + 3600}]),
        ("2026-11-24T10:00", [{"since": NOW, "until": NOW + 60}]),
        ("2026-11-24 10:00", [{"since": NOW, "until": NOW + 60}]),
        ("2026-11-24T10:00:01", [{"since": NOW + 1, "until": NOW + 2}]),
        ("2026-11-24T10:00..2026-11-24T11:00", [{"since": NOW, "until": NOW + 3600}]),
        ("2026-11-23..2026-11-24", [{"since": NOW - 36_000 - DAY, "until": NOW - 36_000 + DAY}]),
        ("2026-11-24T10:00..", [{"since": NOW}]),
        ("..x", [{"queue_id": "..x"}, {"transaction_id": "..x"}, {"file": "..x"}, {"address": "..x"}]),
    ],
)
def test_questions(text, expected):
    assert questions(text, now=NOW) == expected


@pytest.mark.parametrize("text", ["2026-13-01", "2026-11-24T25:00", "2026-11-24..2026-02-30", "0000-01-01"])
def test_time_that_is_none_is_said_to_be_none(text):
    with pytest.raises(Failure, match="is no time") as caught:
        questions(text, now=NOW)

    assert caught.value.exit_code == 64
