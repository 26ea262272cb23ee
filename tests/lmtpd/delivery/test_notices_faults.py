"""Notices when something fails, and the thread that sends them."""

from collections.abc import Iterator

import pytest

from lmtpd.delivery import notices as module
from lmtpd.delivery.notices import Notices
from lmtpd.delivery.submission import SubmissionError
from lmtpd.report.records import Level
from tests.support.owing import Site, asking
from tests.support.polling import wait_for
from tests.support.services import A, B
from tests.support.submissions import Sent


@pytest.fixture
def site(tmp_path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    assert site.events.bugs == []
    site.notices.stop()


# ---- when something fails -------------------------------------------------------------------------


def test_an_mta_that_is_down_is_tried_again_ever_more_rarely(site):
    site.sent.error = SubmissionError("down")
    site.deliver(asking(A))

    pauses = []
    for _ in range(9):
        site.told()
        pauses.append(site.outbox.due_in_s())
        site.clock.now += pauses[-1]

    assert pauses == [30, 60, 120, 240, 480, 960, 1920, 3600, 3600]
    site.sent.error = None
    assert site.told() == [[A]]


@pytest.mark.parametrize("age_s, is_given_up", [(-1, False), (0, False), (1, True)])
def test_after_days_it_is_given_up(site, age_s, is_given_up):
    site.sent.error = SubmissionError("down")
    site.deliver(asking(A))

    site.clock.now += module.GIVE_UP_S + age_s
    site.told()

    assert ((Level.WARNING, "notice_given_up") in site.events.events) is is_given_up
    assert (site.outbox.due_in_s() is None) is is_given_up


def test_a_sender_that_does_not_exist_is_given_up_at_once(site):
    site.sent.error = SubmissionError("550 no such user", is_final=True)
    site.deliver(asking(A))

    site.told()

    assert site.events.events == [(Level.WARNING, "notice_given_up")]
    assert site.outbox.due_in_s() is None


def test_an_outbox_that_fails_changes_no_reply_and_the_notice_waits_in_memory(site, tmp_path):
    state = tmp_path / "state/outbox.db"
    state.mkdir()

    assert site.deliver(asking(A)) == [250]
    site.deliver(asking(B))
    state.rmdir()

    assert site.events.events == [(Level.ALERT, "outbox_failed")]
    assert site.told() == [[A], [B]]


@pytest.mark.parametrize("owed, kept", [(2, 2), (3, 3), (4, 3)])
def test_what_waits_in_memory_has_an_end(tmp_path, monkeypatch, owed, kept):
    monkeypatch.setattr(module, "UNWRITTEN", 3)
    site = Site(tmp_path)
    (tmp_path / "state/outbox.db").mkdir()
    for number in range(owed):
        site.deliver(asking(f"u{number}@example.org"))

    (tmp_path / "state/outbox.db").rmdir()

    assert site.told() == [[f"u{number}@example.org"] for number in range(owed)][-kept:]
    site.notices.stop()


def test_a_bug_in_a_notice_changes_no_reply(tmp_path, monkeypatch):
    site = Site(tmp_path)
    monkeypatch.setattr(module, "delivered_notice", lambda *_: 1 / 0)

    assert site.deliver(asking(A)) == [250]

    assert [type(bug) for bug in site.events.bugs] == [ZeroDivisionError]
    site.notices.stop()


# ---- the thread -----------------------------------------------------------------------------------


def test_a_notice_leaves_without_being_asked_for(site):
    site.notices.start()

    site.deliver(asking(A))

    wait_for(lambda: site.sent.messages, "the notice")


def test_what_a_dead_worker_owed_leaves_at_the_start(site):
    site.deliver(asking(A))

    site.notices.start()

    wait_for(lambda: site.sent.messages, "the notice")


def test_the_thread_survives_an_outbox_in_trouble_and_a_bug(site, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LOOK_S", 0.01)
    state = tmp_path / "state/outbox.db"
    state.mkdir()
    site.notices.start()
    wait_for(lambda: site.events.events, "an alarm")
    monkeypatch.setattr(Sent, "send", lambda *_: 1 / 0)
    state.rmdir()
    site.deliver(asking(A))
    wait_for(lambda: site.events.bugs, "a bug")
    monkeypatch.undo()
    site.clock.now += module.LEASE_S

    wait_for(lambda: site.sent.messages, "the notice")
    site.events.bugs.clear()


def test_nobody_else_sends_what_one_worker_is_sending(site):
    site.deliver(asking(A))
    other = Notices(site.outbox, site.sent, hostname="mx", reporter=site.events, clock=site.clock)

    site.outbox.take_due(lease_s=module.LEASE_S, at_most=1)
    other._work()

    assert site.sent.messages == []
