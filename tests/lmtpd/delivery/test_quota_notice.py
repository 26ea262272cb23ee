import email
from email import policy

import pytest

from lmtpd.delivery.quota_notice import is_worth_telling, level_of, message_of
from storage.quota_state import Notice

THRESHOLDS = (80, 95)


@pytest.mark.parametrize(
    "share, before, level",
    [
        (0.79, 0, 0),
        (0.80, 0, 80),
        (0.94, 0, 80),
        (0.95, 0, 95),
        (2.00, 0, 95),
        (0.95, 80, 95),
        (0.80, 80, 80),
        (0.79, 80, 80),
        (0.75, 80, 80),
        (0.7499, 80, 0),
        (0.94, 95, 95),
        (0.90, 95, 95),
        (0.8999, 95, 80),
        (0.76, 95, 80),
        (0.10, 95, 0),
    ],
)
def test_a_threshold_holds_until_use_is_clearly_below_it(share, before, level):
    assert level_of(share, before, THRESHOLDS) == level


def test_a_threshold_that_was_taken_out_of_the_configuration_does_not_hold():
    assert level_of(0.9, 80, ()) == 0
    assert level_of(0.9, 80, (85, 95)) == 85


@pytest.mark.parametrize(
    "before, level, told",
    [(0, 80, True), (80, 95, True), (0, 95, True), (95, 80, False), (80, 0, True), (0, 0, False)],
)
def test_each_way_up_is_told_and_that_all_is_well_again(before, level, told):
    assert is_worth_telling(before, level) is told


def test_the_message_says_what_there_is_and_may_be():
    notice = Notice(7, "/m", "a@example.org", 80, 1_700_000_000.0, 1_700_000_000, 31337, "2G,100000M")

    octets = message_of(notice, hostname="mx.example.org", postmaster="pm@example.org", refuses=True)

    message = email.message_from_bytes(octets, policy=policy.default)
    assert message["Subject"] == "Your mailbox is 79% full"
    assert message["From"] == "pm@example.org"
    assert message["Auto-Submitted"] == "auto-generated"
    text = message.get_content()
    assert "holds 1.6 GiB in 31337 messages" in text
    assert "79% of what it may hold: 2.0 GiB, 100000 messages." in text
    assert "new mail for it is refused" in text
    assert octets == message_of(notice, hostname="mx.example.org", postmaster="pm@example.org", refuses=True)
    assert b"\n" not in octets.replace(b"\r\n", b"")


def test_under_again_says_so():
    notice = Notice(8, "/m", "a@example.org", 0, 1_700_000_000.0, 500, 3, "0,10M")

    octets = message_of(notice, hostname="mx", postmaster="pm@example.org", refuses=False)

    assert b"Subject: Your mailbox has room again\r\n" in octets
    assert b"500 octets in 3 messages" in octets
    assert b"30% of what it may hold: 10 messages." in octets
