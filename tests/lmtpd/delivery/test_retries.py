import errno
import shutil
from pathlib import Path

import pytest

from lmtpd.delivery.intent import Intents
from lmtpd.delivery.rounds import Rounds
from lmtpd.protocol import replies
from lmtpd.recipients.maildirs import Detail
from tests.support.faulty_disk import FaultyDisk
from tests.support.services import (
    BODY,
    A,
    B,
    C,
    Client,
    KeptReports,
    begin,
    codes,
    deliver,
    files,
    leftovers,
    make_service,
)


def test_a_failed_sync_of_new_is_451_and_the_retry_settles_it(tmp_path: Path):
    disk = FaultyDisk("nothing yet", errno.EIO)
    service = make_service(tmp_path, disk=disk)
    confirmed, _ = deliver(service, [A], b"first\r\n")
    confirmed.confirm()
    disk.call = "sync_directory"

    transaction, answered = deliver(service, [A], BODY)
    transaction.confirm()
    disk.call = "nothing any more"
    _, again = deliver(service, [A], BODY)

    assert codes(answered) == [451]
    assert codes(again) == [250]
    assert len(files(tmp_path, "example.org/a")) == 2


@pytest.mark.parametrize("moved", [False, True], ids=["in new", "in cur with flags"])
def test_a_retry_after_a_lost_reply_is_recognised(tmp_path: Path, moved: bool):
    service = make_service(tmp_path)
    transaction, _ = deliver(service, [A], BODY)
    transaction.release()
    if moved:
        (file,) = files(tmp_path, "example.org/a")
        file.rename(file.parents[1] / "cur" / (file.name + ":2,RS"))

    _again, answered = deliver(service, [A], BODY)

    assert codes(answered) == [250]
    assert len(files(tmp_path, "example.org/a")) == (0 if moved else 1)
    assert leftovers(tmp_path) == []
    assert isinstance(service.reporter, KeptReports)
    assert [report.outcome for report in service.reporter.reports] == ["delivered", "recognised"]


def test_the_same_mail_twice_on_purpose_arrives_twice(tmp_path: Path):
    service = make_service(tmp_path)

    for _ in range(2):
        transaction, answered = deliver(service, [A], BODY)
        transaction.confirm()
        assert codes(answered) == [250]

    assert len(files(tmp_path, "example.org/a")) == 2


def test_a_recognised_retry_that_is_confirmed_is_forgotten(tmp_path: Path):
    service = make_service(tmp_path)
    first, _ = deliver(service, [A], BODY)
    first.release()
    second, _ = deliver(service, [A], BODY)
    second.confirm()

    deliver(service, [A], BODY)

    assert len(files(tmp_path, "example.org/a")) == 2


@pytest.mark.parametrize("change", ["sender", "recipient", "body"])
def test_what_differs_is_no_retry(tmp_path: Path, change: str):
    service = make_service(tmp_path)
    first, _ = deliver(service, ["a+x@example.org"], BODY)
    first.release()

    recipient = "a+y@example.org" if change == "recipient" else "a+x@example.org"
    body = BODY + b"more\r\n" if change == "body" else BODY
    transaction = begin(service, [recipient])
    if change == "sender":
        object.__setattr__(transaction.envelope, "sender_path", b"other@example.net")
    transaction.open_body()
    transaction.write(body)
    list(transaction.deliver(Client(), None))

    assert len(files(tmp_path, "example.org/a")) == 2


def test_a_record_without_its_file_is_delivered(tmp_path: Path):
    service = make_service(tmp_path)
    first, _ = deliver(service, [A], BODY)
    first.release()
    (file,) = files(tmp_path, "example.org/a")
    file.unlink()

    _, answered = deliver(service, [A], BODY)

    assert codes(answered) == [250]
    assert len(files(tmp_path, "example.org/a")) == 1


def test_a_key_in_flight_is_deferred(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("lmtpd.delivery.rounds.IN_FLIGHT_WAIT_S", 0.0)
    service = make_service(tmp_path)
    deliver(service, [A], BODY)  # answered, and neither confirmed nor given up

    _, answered = deliver(service, [A, B], BODY)

    assert answered[0] is replies.IN_FLIGHT
    assert answered[1].code == 250
    assert len(files(tmp_path, "example.org/a")) == 1


def test_a_key_in_flight_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    service = make_service(tmp_path)
    first, _ = deliver(service, [A], BODY)
    monkeypatch.setattr("lmtpd.delivery.rounds.time.sleep", lambda _: first.release())

    _, answered = deliver(service, [A], BODY)

    assert codes(answered) == [250]
    assert len(files(tmp_path, "example.org/a")) == 1


def test_a_record_of_a_mailbox_that_has_moved_is_looked_for_where_it_was(tmp_path: Path):
    service = make_service(tmp_path, detail=Detail.CREATE)
    first, _ = deliver(service, ["a+x@example.org"], BODY)
    first.release()
    inbox = make_service(tmp_path, detail=Detail.INBOX)
    intents = Intents(service.ledger, inbox.maildirs, deliver_without_ledger=False)
    inbox.rounds = Rounds(intents, inbox.reporter)
    inbox.ledger = service.ledger

    _, answered = deliver(inbox, ["a+x@example.org"], BODY)

    assert codes(answered) == [250]
    assert files(tmp_path, "example.org/a") == []
    assert len(files(tmp_path, "example.org/a", ".x")) == 1


def test_a_record_of_a_mailbox_that_is_gone_is_delivered_anew(tmp_path: Path):
    service = make_service(tmp_path, detail=Detail.CREATE)
    first, _ = deliver(service, ["a+x@example.org"], BODY)
    first.release()
    shutil.rmtree(tmp_path / "mail/example.org/a/.x")
    inbox = make_service(tmp_path, detail=Detail.INBOX)
    intents = Intents(service.ledger, inbox.maildirs, deliver_without_ledger=False)
    inbox.rounds = Rounds(intents, inbox.reporter)

    _, answered = deliver(inbox, ["a+x@example.org"], BODY)

    assert codes(answered) == [250]
    assert len(files(tmp_path, "example.org/a")) == 1


def test_a_record_that_cannot_be_looked_for_defers(tmp_path: Path):
    disk = FaultyDisk("nothing yet", errno.EIO)
    service = make_service(tmp_path, disk=disk)
    first, _ = deliver(service, [A], BODY)
    first.release()
    disk.call = "sync_directory"

    second, answered = deliver(service, [A], BODY)
    second.confirm()
    disk.call = "nothing any more"
    _, third = deliver(service, [A], BODY)

    assert codes(answered) == [451]
    assert codes(third) == [250]
    assert len(files(tmp_path, "example.org/a")) == 1


def test_a_retry_of_several_recipients_settles_each_by_itself(tmp_path: Path):
    service = make_service(tmp_path)
    first, _ = deliver(service, [A, C], BODY)
    first.release()

    _, answered = deliver(service, [A, B, C], BODY)

    assert codes(answered) == [250, 250, 250]
    assert [len(files(tmp_path, f"example.org/{user}")) for user in "abc"] == [1, 1, 1]


def test_duplicates_off_stores_every_attempt(tmp_path: Path):
    service = make_service(tmp_path, recognise=False)
    for _ in range(2):
        transaction, _ = deliver(service, [A], BODY)
        transaction.release()

    assert len(files(tmp_path, "example.org/a")) == 2
