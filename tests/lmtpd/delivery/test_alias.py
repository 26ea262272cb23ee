"""An alias with several mailboxes: a copy in each, one reply, and nothing twice."""

import errno
from pathlib import Path
from typing import Any

import pytest

from lmtpd.delivery import alias
from lmtpd.delivery.admission import Admission, Floor
from lmtpd.delivery.barrier import Verdict
from lmtpd.delivery.outcomes import Cause, Deferred, Refused
from lmtpd.delivery.peer import Peer
from lmtpd.delivery.plan import Keep, Plan
from lmtpd.delivery.reception import Answer
from lmtpd.delivery.service import Commit, Service
from lmtpd.delivery.transaction import Transaction
from lmtpd.protocol import replies
from lmtpd.protocol.addresses import Address
from lmtpd.protocol.replies import Reply
from lmtpd.recipients.directory import Directory, Source
from lmtpd.recipients.mailbox import Mailbox
from lmtpd.recipients.maildirs import MaildirSource
from lmtpd.recipients.table import AliasTable
from storage.disk import Disk
from storage.free_space import FreeSpace
from tests.support.faulty_disk import FaultyDisk
from tests.support.recipients import rules
from tests.support.services import (
    BODY,
    ENVELOPE,
    LARGE,
    A,
    Client,
    KeptReports,
    begin,
    codes,
    deliver,
    files,
    leftovers,
    make_service,
    offered,
)  # fmt: skip

ALL = "all@example.org"
MEMBERS = ("a", "b", "c")


def service_of(tmp_path: Path, *, members: tuple[str, ...] = MEMBERS, **more: Any) -> Service:
    service = make_service(tmp_path, **more)
    site = rules(tmp_path / "mail", create=True)
    targets = tuple(Address(member, "example.org") for member in members)
    sources: list[Source] = [
        AliasTable({ALL: targets}, site),
        MaildirSource(more.get("disk") or Disk(), site),
    ]
    service.directory = Directory(sources, postmaster=Address("p", "x"))
    return service


def ended(transaction: Transaction, service: Service, *, read: bool) -> None:
    if read:
        transaction.confirm()
    else:
        transaction.release()
    service.ledger.flush()


def counts(tmp_path: Path) -> list[int]:
    return [len(files(tmp_path, f"example.org/{member}")) for member in MEMBERS]


def send(service: Service, body: bytes = BODY, *, read: bool = True, **more: Any) -> list[Reply]:
    transaction, replies = deliver(service, [ALL], body, **more)
    ended(transaction, service, read=read)
    return replies


@pytest.mark.parametrize("body", [BODY, LARGE])
def test_each_mailbox_has_a_copy_and_the_alias_has_one_reply(tmp_path: Path, body: bytes):
    service = service_of(tmp_path)

    assert codes(send(service, body)) == [250]

    assert counts(tmp_path) == [1, 1, 1]
    bodies = set()
    for member in MEMBERS:
        (file,) = files(tmp_path, f"example.org/{member}")
        top = file.read_bytes().split(b"\nReceived:")[0].decode()
        assert f"Delivered-To: {member}@example.org\nX-Original-To: {ALL}" in top
        bodies.add(file.read_bytes().split(b"\n", 6)[6])
    assert bodies == {body.replace(b"\r\n", b"\n")}
    assert not leftovers(tmp_path)


def test_it_is_one_recipient_among_others_in_their_order(tmp_path: Path):
    service = service_of(tmp_path)

    transaction, replies = deliver(service, ["c@example.org", ALL, ALL, A], BODY)
    ended(transaction, service, read=True)

    assert [reply.lines[0].split(">")[0] for reply in replies] == [
        "<c@example.org", "<a@example.org", "<a@example.org", "<a@example.org",
    ]  # fmt: skip
    assert counts(tmp_path) == [2, 1, 2]  # who is named himself, too, has a copy of his own


def test_there_is_a_report_for_each_mailbox(tmp_path: Path):
    service = service_of(tmp_path)

    send(service)

    assert isinstance(service.reporter, KeptReports)
    reports = service.reporter.reports
    assert [report.maildir.rpartition("/")[2] for report in reports] == ["a", "b", "c"]
    assert {(report.recipient, report.outcome, report.original_recipient) for report in reports} == {
        (ALL, "delivered", ALL)
    }


def test_a_retry_whose_reply_was_lost_is_recognised_in_every_mailbox(tmp_path: Path):
    service = service_of(tmp_path)
    send(service, read=False)

    assert codes(send(service)) == [250]

    assert counts(tmp_path) == [1, 1, 1]


def test_a_retry_after_the_alias_has_changed_stores_for_the_new_member_only(tmp_path: Path):
    service = service_of(tmp_path, members=("a", "b"))
    send(service, read=False)
    service.directory = service_of(tmp_path, members=("c", "b", "a")).directory

    assert codes(send(service)) == [250]

    assert counts(tmp_path) == [1, 1, 1]


def test_the_same_message_sent_twice_on_purpose_arrives_twice(tmp_path: Path):
    service = service_of(tmp_path)

    send(service)
    send(service)

    assert counts(tmp_path) == [2, 2, 2]


@pytest.mark.parametrize("part", ["tmp", "new"])
def test_a_mailbox_that_cannot_be_used_leaves_nothing_in_the_others(tmp_path: Path, part: str):
    service = service_of(tmp_path)
    broken = tmp_path / "mail/example.org/b"
    broken.mkdir(parents=True)
    (broken / part).touch()

    transaction = begin(service, [ALL, "d@example.org"])
    assert transaction.open_body().code == 354
    transaction.write(BODY)
    replies = list(transaction.deliver(Client(), None))
    ended(transaction, service, read=True)

    assert codes(replies) == [451, 250]
    assert [len(files(tmp_path, f"example.org/{member}")) for member in "acd"] == [0, 0, 1]
    assert not leftovers(tmp_path)


def test_an_alias_that_cannot_be_used_alone_is_told_before_the_body(tmp_path: Path):
    service = service_of(tmp_path)
    (tmp_path / "mail/example.org").mkdir(parents=True)
    (tmp_path / "mail/example.org/c").mkdir()
    (tmp_path / "mail/example.org/c/new").touch()

    transaction = begin(service, [ALL])

    assert transaction.open_body().code == 451


class OneRefuses(Keep):
    def decide(self, message: Any, mailbox: Any) -> Plan:
        if mailbox.user == "b":
            return Plan(refusal=Refused(Cause.LOOP, "b does not want it"))
        return super().decide(message, mailbox)


def test_a_mailbox_whose_filter_refuses_refuses_for_the_alias(tmp_path: Path):
    service = service_of(tmp_path, filter_=OneRefuses())

    assert send(service)[0].code == 554

    assert counts(tmp_path) == [0, 0, 0]
    assert not leftovers(tmp_path)


@pytest.mark.parametrize("member", MEMBERS)
@pytest.mark.parametrize(
    "call, stored", [("create", 0), ("write", 0), ("sync", 0), ("rename", 2), ("sync_directory", 3)]
)
def test_whatever_fails_for_one_the_retry_leaves_one_copy_in_each(
    tmp_path: Path, call: str, stored: int, member: str
):
    disk = FaultyDisk("", errno.EIO)
    service = service_of(tmp_path, disk=disk)
    send(service, b"Subject: first\r\n\r\n")  # makes the Maildirs
    disk.call, disk.user = call, member

    assert codes(send(service)) == [451]
    assert sum(counts(tmp_path)) == 3 + stored
    assert isinstance(service.reporter, KeptReports)
    reports = service.reporter.reports[3:]
    assert {report.outcome for report in reports} == {"deferred"}
    innocent = [report for report in reports if not report.maildir.endswith(f"/{member}")]
    assert all(report.detail.startswith(f"together with {member}@example.org: ") for report in innocent)
    if not stored:
        assert not leftovers(tmp_path)

    disk.call = ""
    assert codes(send(service)) == [250]
    assert counts(tmp_path) == [2, 2, 2]
    assert not leftovers(tmp_path)


def test_a_ledger_in_trouble_leaves_nothing(tmp_path: Path):
    service = service_of(tmp_path, ledger_path=tmp_path / "no/such/folder/ledger.db")

    assert codes(send(service)) == [451]

    assert counts(tmp_path) == [0, 0, 0]
    assert not leftovers(tmp_path)


def test_one_copy_in_flight_elsewhere_defers_the_alias(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("lmtpd.delivery.rounds.IN_FLIGHT_WAIT_S", 0.0)
    only_b = service_of(tmp_path, members=("b", "c"))
    first, _ = deliver(only_b, [ALL], BODY)
    only_b.directory = service_of(tmp_path, members=("a", "b")).directory

    assert codes(send(only_b)) == [451]
    assert counts(tmp_path) == [0, 1, 1]
    assert not leftovers(tmp_path)

    first.release()
    assert codes(send(only_b)) == [250]
    assert counts(tmp_path) == [1, 1, 1]


@pytest.mark.parametrize("verdict", list(Verdict))
def test_a_client_that_has_gone_or_cancelled_leaves_nothing(tmp_path: Path, verdict: Verdict):
    service = service_of(tmp_path)

    assert codes(send(service, client=Client(verdict))) == [451]

    assert counts(tmp_path) == [0, 0, 0]
    assert not leftovers(tmp_path)


def test_hold_publishes_all_or_nothing(tmp_path: Path):
    service = service_of(tmp_path, commit=Commit.HOLD)

    transaction, replies = deliver(service, [ALL], BODY)
    assert codes(replies) == [250]
    assert counts(tmp_path) == [0, 0, 0]
    transaction.conclude()
    assert counts(tmp_path) == [1, 1, 1]

    transaction, _ = deliver(service, [ALL], BODY)
    transaction.drop()
    assert counts(tmp_path) == [1, 1, 1]
    assert not leftovers(tmp_path)


def test_only_the_file_system_that_failed_is_left_alone(tmp_path: Path):
    service = service_of(tmp_path)
    transaction = begin(service, [ALL])
    first, second, _ = transaction._copies
    second.outcome = Deferred(Cause.STORAGE, "I/O error", of_file_system=True)

    drawn_in = alias.share_fate(transaction._copies)

    assert drawn_in == [first, transaction._copies[2]]
    assert isinstance(first.outcome, Deferred)
    assert first.outcome == Deferred(Cause.STORAGE, "together with b@example.org: I/O error")
    assert not first.outcome.of_file_system
    assert second.outcome.of_file_system


def test_what_stands_against_one_mailbox_stands_against_the_alias(tmp_path: Path):
    service = service_of(tmp_path)
    floor = Floor(octets=0, percent=0, inodes=0)

    class Full(Admission):
        def _why_not(self, mailbox: Mailbox, device: int | None, *, octets: int) -> Answer | None:
            if mailbox.user == "c":
                return Answer(None, replies.NO_SPACE, "free_space")
            return super()._why_not(mailbox, device, octets=octets)

    service.admission = Full(service.directory, floor=floor, free_space=FreeSpace(Disk()))
    transaction = Transaction(service, Peer("unix", trusted=True), ENVELOPE)

    assert transaction.offer(offered(ALL)).code == 452
    assert transaction.offer(offered(A)).code == 250
