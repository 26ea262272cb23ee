"""Which notices are owed, and what becomes of them."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from lmtpd.delivery.barrier import Verdict
from lmtpd.delivery.notices import Notices
from lmtpd.delivery.service import Commit
from lmtpd.protocol.addresses import Address
from lmtpd.recipients.directory import Directory, Source
from lmtpd.recipients.maildirs import MaildirSource
from lmtpd.recipients.table import AliasTable
from lmtpd.report.records import Level
from storage.disk import Disk
from tests.support.owing import Site, asking
from tests.support.recipients import rules
from tests.support.services import BODY, ENVELOPE, A, B, Client, codes, files, offered


@pytest.fixture
def site(tmp_path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    assert site.events.bugs == []
    site.notices.stop()


def test_who_asks_is_told_in_one_notice_to_the_sender(site):
    assert site.deliver(asking(A), offered("c@example.org"), asking(B)) == [250, 250, 250]

    assert site.told() == [[A, B]]
    assert site.sent.messages[0][0] == "sender@example.net"
    assert (Level.INFO, "notice_sent") in site.events.events


@pytest.mark.parametrize("notify", [b"NEVER", b"FAILURE", b"DELAY", b"FAILURE,DELAY"])
def test_other_wishes_are_not_ours(site, notify):
    site.deliver(asking(A, NOTIFY=notify))

    assert site.told() == []


def test_the_null_sender_is_told_nothing(site):
    site.deliver(asking(A), envelope=replace(ENVELOPE, sender=None, sender_path=b""))

    assert site.told() == []


def test_who_did_not_get_the_message_is_not_told_of(site):
    assert site.deliver(asking(A), verdict=Verdict.GONE) == [451]

    assert site.told() == []


def test_a_retry_that_is_recognised_is_told_once(site):
    site.deliver(asking(A))
    before = site.told()

    assert site.deliver(asking(A)) == [250]

    assert before == site.told() == [[A]]


def test_a_crash_before_the_notice_was_written_is_made_good_at_the_retry(site, monkeypatch):
    monkeypatch.setattr(Notices, "owe", lambda *_, **__: None)
    site.deliver(asking(A))
    monkeypatch.undo()

    site.deliver(asking(A))

    assert site.told() == [[A]]


def test_the_same_octets_delivered_twice_are_told_twice(site):
    for _ in range(2):
        transaction = site.transaction(asking(A))
        transaction.open_body()
        transaction.write(BODY)
        assert codes(list(transaction.deliver(Client(), None))) == [250]
        transaction.confirm()

    assert site.told() == [[A], [A]]


def test_a_repeated_recipient_is_told_of_as_often_as_he_asked(site):
    site.deliver(asking(A, NOTIFY=b"SUCCESS", ORCPT=b"rfc822;one@x"), asking(A), offered(A))

    assert site.told() == [[A, A]]


def test_the_notice_is_on_the_disk_before_the_first_reply(site):
    transaction = site.transaction(offered(B), asking(A))
    transaction.open_body()
    transaction.write(BODY)

    answers = transaction.deliver(Client(), None)
    next(answers)

    assert site.outbox.due_in_s() == 0
    list(answers)


def test_what_hold_keeps_back_is_told_when_it_is_concluded(tmp_path):
    site = Site(tmp_path, commit=Commit.HOLD)
    transaction = site.transaction(asking(A))
    transaction.open_body()
    transaction.write(BODY)
    list(transaction.deliver(Client(), None))
    before = site.told()

    transaction.conclude()

    assert (before, site.told()) == ([], [[A]])
    site.notices.stop()


def test_the_sender_of_the_envelope_is_who_is_told(site):
    site.deliver(
        asking(A), envelope=replace(ENVELOPE, sender=Address("with space", "example.net"), sender_path=b"x")
    )

    site.told()

    assert site.sent.messages[0][0] == '"with space"@example.net'


def test_an_alias_with_several_mailboxes_is_one_recipient(site, tmp_path):
    layout = rules(tmp_path / "mail", create=True)
    members = (Address("a", "example.org"), Address("b", "example.org"))
    sources: list[Source] = [AliasTable({"team@example.org": members}, layout), MaildirSource(Disk(), layout)]
    site.service.directory = Directory(sources, postmaster=Address("p", "x"))

    assert site.deliver(asking("team@example.org")) == [250]

    assert site.told() == [["team@example.org"]]
    assert len(files(tmp_path, "example.org/a")) == len(files(tmp_path, "example.org/b")) == 1
