"""What a transaction tells of its recipients."""

import time
from pathlib import Path

from lmtpd.delivery.message import Message
from lmtpd.delivery.plan import Plan
from lmtpd.recipients.mailbox import Mailbox
from lmtpd.report.metrics import PHASES
from tests.support.services import (
    BODY,
    A,
    B,
    Client,
    KeptReports,
    begin,
    deliver,
    files,
    make_service,
    offered,
)


def test_every_recipient_is_reported_once_with_what_postfix_called_it(tmp_path: Path):
    service = make_service(tmp_path)
    received = b"Received: by mx.example.net (Postfix) id 4XYZ\r\n\tfor <a>; date\r\n"

    deliver(service, [A, A, B], received + BODY)

    assert isinstance(service.reporter, KeptReports)
    reports = service.reporter.reports
    assert [report.recipient for report in reports] == [A, A, B]
    assert {report.queue_id for report in reports} == {"4XYZ"}
    assert {report.message_id for report in reports} == {"<1@x>"}
    assert reports[0].file == files(tmp_path, "example.org/a")[0].name
    assert {report.received for report in reports} == {"date"}


def test_phases_are_all_there_and_add_up_with_the_last_report(tmp_path: Path):
    service = make_service(tmp_path)

    deliver(service, [A, B], BODY)

    assert isinstance(service.reporter, KeptReports)
    first, last = service.reporter.reports
    assert set(last.phases_ms) == set(PHASES)
    assert all(duration_ms >= 0 for report in (first, last) for duration_ms in report.phases_ms.values())
    assert last.phases_ms["reply"] >= first.phases_ms["reply"]
    assert [first.is_last, last.is_last] == [False, True]


def test_time_of_a_filter_and_of_a_slow_client_are_told_apart(tmp_path: Path):
    class Slow:
        def decide(self, message: Message, mailbox: Mailbox) -> Plan:
            time.sleep(0.02)
            return Plan()

    service = make_service(tmp_path, filter_=Slow())
    transaction = begin(service, [A, B])
    transaction.open_body()
    transaction.write(BODY)

    for _ in transaction.deliver(Client(), None):
        time.sleep(0.03)  # as long as the client lets its socket's buffer be full

    assert isinstance(service.reporter, KeptReports)
    phases = service.reporter.reports[-1].phases_ms
    assert phases["filter"] >= 40
    assert phases["reply"] >= 60
    assert phases["stage"] < 40
    assert phases["publish"] < 60


def test_message_that_the_client_gave_up_is_reported_for_each_recipient(tmp_path: Path):
    service = make_service(tmp_path)
    transaction = begin(service, [A, B])
    transaction.open_body()
    transaction.write(BODY[:10])

    transaction.drop()
    transaction.drop()

    assert isinstance(service.reporter, KeptReports)
    reports = service.reporter.reports
    assert [(report.recipient, report.outcome, report.cause) for report in reports] == [
        (A, "dropped", "client_gone"),
        (B, "dropped", "client_gone"),
    ]
    assert {report.reply for report in reports} == {""}


def test_transaction_that_ends_before_its_message_is_not_reported(tmp_path: Path):
    service = make_service(tmp_path)
    transaction = begin(service, [A])  # as Postfix does to verify an address

    transaction.drop()

    assert isinstance(service.reporter, KeptReports)
    assert service.reporter.reports == []


def test_look_up_that_finds_nobody_is_a_phase_of_its_own(tmp_path: Path):
    service = make_service(tmp_path, create=False)
    (tmp_path / "mail" / "example.org" / "other").mkdir(parents=True)
    transaction = begin(service, [])

    assert transaction.offer(offered("nobody@example.org")).code == 550

    assert isinstance(service.reporter, KeptReports)
    (report,) = service.reporter.reports
    assert set(report.phases_ms) == {"resolve"}
    assert report.is_last
