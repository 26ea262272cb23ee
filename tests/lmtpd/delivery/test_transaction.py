import errno
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from lmtpd.delivery.intent import Intents
from lmtpd.delivery.message import Message
from lmtpd.delivery.plan import HOPS, Plan
from lmtpd.delivery.service import Commit
from lmtpd.delivery.transaction import Transaction, Verdict
from lmtpd.protocol import replies
from lmtpd.recipients.mailbox import Mailbox
from lmtpd.recipients.maildirs import Detail
from storage.disk import Disk
from tests.support.services import (
    Client,
    KeptReports,
    begin,
    deliver,
    files,
    leftovers,
    make_service,
    offered,
)

BODY = b"Subject: x\r\nMessage-ID: <1@x>\r\n\r\nhello\r\n.\r\nbare\nand\rmore\0\xff\r\n"
LARGE = b"Subject: large\r\n\r\n" + b"0123456789abcdef\r\n" * 60_000  # over a megabyte
A, B, C = "a@example.org", "b@example.org", "c@example.org"


class FaultyDisk(Disk):
    """A disk on which some calls below one mailbox fail, for as long as `fails` says so."""

    def __init__(self, call: str, code: int, *, after: int = 0) -> None:
        self.call, self.code, self.after = call, code, after
        self.user: str | None = None  # of which mailbox; None: all

    def _strike(self, call: str, fd: int) -> None:
        if call != self.call or (self.user and f"/{self.user}/" not in os.readlink(f"/proc/self/fd/{fd}")):
            return
        if self.after:
            self.after -= 1
            return
        raise OSError(self.code, os.strerror(self.code))

    def create(self, name: str, *, dir_fd: int | None = None) -> int:
        assert dir_fd is not None
        self._strike("create", dir_fd)
        return super().create(name, dir_fd=dir_fd)

    def write(self, fd: int, data: bytes | memoryview) -> int:
        self._strike("write", fd)
        return super().write(fd, data)

    def sync(self, fd: int) -> None:
        self._strike("sync_directory" if os.path.isdir(f"/proc/self/fd/{fd}") else "sync", fd)
        super().sync(fd)

    def rename_exclusive(self, name: str, new_name: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        self._strike("rename", dst_dir_fd)
        super().rename_exclusive(name, new_name, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)


def codes(answered: list[replies.Reply]) -> list[int]:
    return [reply.code for reply in answered]


def body_of(path: Path) -> bytes:
    """The stored message without the four fields that a delivery adds."""
    return path.read_bytes().split(b"\n", 5)[5]


def test_one_recipient_one_file_one_250(tmp_path: Path):
    service = make_service(tmp_path)

    transaction, answered = deliver(service, [A], BODY)

    (file,) = files(tmp_path, "example.org/a")
    assert codes(answered) == [250]
    assert transaction.id in answered[0].lines[0]
    assert body_of(file) == BODY.replace(b"\r\n", b"\n")
    assert file.read_bytes().startswith(
        b"Return-Path: <sender@example.net>\nDelivered-To: a@example.org\nReceived: "
    )
    assert file.stat().st_mode & 0o777 == 0o600
    assert leftovers(tmp_path) == []


def test_the_name_tells_both_sizes(tmp_path: Path):
    deliver(make_service(tmp_path), [A], BODY)

    (file,) = files(tmp_path, "example.org/a")
    stored = file.read_bytes()
    sizes = re.search(r",S=(\d+),W=(\d+)$", file.name)
    assert sizes is not None
    assert int(sizes[1]) == len(stored)
    assert int(sizes[2]) == len(re.sub(rb"(?<!\r)\n", b"\r\n", stored))


@pytest.mark.parametrize("body", [BODY, LARGE], ids=["small", "large"])
def test_every_recipient_has_a_copy_and_a_reply_of_its_own(tmp_path: Path, body: bytes):
    _, answered = deliver(make_service(tmp_path), [A, B, C], body)

    assert [reply.lines[0].split()[0] for reply in answered] == [f"<{one}>" for one in (A, B, C)]
    for user in "abc":
        (file,) = files(tmp_path, f"example.org/{user}")
        assert body_of(file) == body.replace(b"\r\n", b"\n")
        assert f"\nDelivered-To: {user}@example.org\n".encode() in file.read_bytes()
    assert leftovers(tmp_path) == []


def test_a_large_body_is_written_once_for_one_recipient(tmp_path: Path):
    written = 0

    class Counting(Disk):
        def write(self, fd: int, data: bytes | memoryview) -> int:
            nonlocal written
            written += len(data)
            return super().write(fd, data)

    deliver(make_service(tmp_path, disk=Counting()), [A], LARGE)

    (file,) = files(tmp_path, "example.org/a")
    assert written == file.stat().st_size
    assert f",S={written}," in file.name


def test_binarymime_is_stored_to_the_octet(tmp_path: Path):
    deliver(make_service(tmp_path), [A], BODY, kind="BINARYMIME")

    (file,) = files(tmp_path, "example.org/a")
    assert file.read_bytes().endswith(b"\r\n" + BODY)


def test_the_same_recipient_twice_is_one_copy_and_two_replies(tmp_path: Path):
    service = make_service(tmp_path)

    _, answered = deliver(service, [A, "A@Example.ORG", A], BODY)

    assert codes(answered) == [250, 250, 250]
    assert len(files(tmp_path, "example.org/a")) == 1


def test_an_unknown_recipient_is_told_at_rcpt_and_reported(tmp_path: Path):
    (tmp_path / "mail/example.org").mkdir(parents=True)
    service = make_service(tmp_path, create=False)
    transaction = Transaction(service, begin(service, []).peer, begin(service, []).envelope)

    reply = transaction.offer(offered(A))

    assert reply is replies.MAILBOX_UNKNOWN
    assert isinstance(service.reporter, KeptReports)
    assert [(report.outcome, report.cause) for report in service.reporter.reports] == [("refused", "unknown")]


def test_a_lost_mailbox_root_is_temporary(tmp_path: Path):
    service = make_service(tmp_path, create=False)
    (tmp_path / "mail").rmdir()

    assert begin(service, []).offer(offered(A)) is replies.LOOKUP_FAILED


FAULTS = [
    (call, code, reply)
    for call in ("create", "write", "sync", "rename")
    for code, reply in (
        (errno.EIO, replies.LOCAL_ERROR),
        (errno.ENOSPC, replies.NO_SPACE),
        (errno.EDQUOT, replies.MAILBOX_FULL),
        (errno.EROFS, replies.MAILBOX_UNAVAILABLE),
        (errno.EACCES, replies.MAILBOX_UNAVAILABLE),
        (errno.EMFILE, replies.LOCAL_ERROR),
        (errno.ESTALE, replies.LOCAL_ERROR),
        (errno.EFBIG, replies.LOCAL_ERROR),
    )
]


@pytest.mark.parametrize("call, code, reply", FAULTS, ids=[f"{c}-{errno.errorcode[e]}" for c, e, _ in FAULTS])
@pytest.mark.parametrize("body", [BODY, LARGE], ids=["small", "large"])
def test_a_fault_of_one_mailbox_is_that_recipients_alone(
    tmp_path: Path, call: str, code: int, reply: replies.Reply, body: bytes
):
    disk = FaultyDisk(call, code)
    disk.user = "a"
    service = make_service(tmp_path, disk=disk)

    _, answered = deliver(service, [A, B, C], body)

    assert codes(answered) == [reply.code, 250, 250]
    assert answered[0].status == reply.status
    assert files(tmp_path, "example.org/a") == []
    for user in "bc":
        (file,) = files(tmp_path, f"example.org/{user}")
        assert body_of(file) == body.replace(b"\r\n", b"\n")
    assert leftovers(tmp_path) == []


def test_a_disk_that_fills_while_a_large_body_arrives_hands_over_what_it_has(tmp_path: Path):
    disk = FaultyDisk("write", errno.ENOSPC, after=6)
    disk.user = "a"
    service = make_service(tmp_path, disk=disk)

    _, answered = deliver(service, [A, B, C], LARGE)

    assert codes(answered) == [452, 250, 250]
    for user in "bc":
        (file,) = files(tmp_path, f"example.org/{user}")
        assert body_of(file) == LARGE.replace(b"\r\n", b"\n")
    assert leftovers(tmp_path) == []


def test_no_mailbox_can_hold_a_large_body(tmp_path: Path):
    service = make_service(tmp_path, disk=FaultyDisk("write", errno.ENOSPC, after=4))

    _, answered = deliver(service, [A, B], LARGE)

    assert codes(answered) == [452, 452]
    assert leftovers(tmp_path) == []


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


def test_all_maildirs_unusable_is_one_reply_to_data(tmp_path: Path):
    service = make_service(tmp_path)
    transaction = begin(service, [A, B])
    (tmp_path / "mail/example.org").mkdir()
    for user in "ab":
        (tmp_path / "mail/example.org" / user).write_text("a file")

    assert transaction.open_body() is replies.MAILBOX_UNAVAILABLE


def test_some_maildirs_unusable_is_their_recipients_alone(tmp_path: Path):
    service = make_service(tmp_path)
    transaction = begin(service, [A, B])
    (tmp_path / "mail/example.org").mkdir()
    (tmp_path / "mail/example.org/a").write_text("a file")

    assert transaction.open_body() is replies.START_DATA
    transaction.write(BODY)
    assert codes(list(transaction.deliver(Client(), None))) == [451, 250]


def test_a_refused_message_leaves_nothing(tmp_path: Path):
    _, answered = deliver(make_service(tmp_path), [A, B], LARGE, refusal=replies.TOO_LARGE)

    assert answered == [replies.TOO_LARGE, replies.TOO_LARGE]
    assert files(tmp_path, "example.org/a") == []
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize(
    "verdict, reply", [(Verdict.GONE, replies.CLIENT_GONE), (Verdict.CANCELLED, replies.CANCELLED)]
)
@pytest.mark.parametrize("body", [BODY, LARGE], ids=["small", "large"])
def test_an_abort_at_the_barrier_discards_everything(
    tmp_path: Path, verdict: Verdict, reply: replies.Reply, body: bytes
):
    service = make_service(tmp_path)

    transaction, answered = deliver(service, [A, B], body, client=Client(verdict))
    transaction.release()
    _again, second = deliver(service, [A, B], body)

    assert answered == [reply, reply]
    assert codes(second) == [250, 250]
    assert len(files(tmp_path, "example.org/a")) == 1
    assert leftovers(tmp_path) == []


def test_after_the_deadline_nothing_is_published(tmp_path: Path):
    _, answered = deliver(make_service(tmp_path, deadline_s=-1), [A], BODY)

    assert answered == [replies.TOO_LATE]
    assert files(tmp_path, "example.org/a") == []


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
    monkeypatch.setattr("lmtpd.delivery.intent.IN_FLIGHT_WAIT_S", 0.0)
    service = make_service(tmp_path)
    deliver(service, [A], BODY)  # answered, and neither confirmed nor given up

    _, answered = deliver(service, [A, B], BODY)

    assert answered[0] is replies.IN_FLIGHT
    assert answered[1].code == 250
    assert len(files(tmp_path, "example.org/a")) == 1


def test_a_key_in_flight_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    service = make_service(tmp_path)
    first, _ = deliver(service, [A], BODY)
    monkeypatch.setattr("lmtpd.delivery.intent.time.sleep", lambda _: first.release())

    _, answered = deliver(service, [A], BODY)

    assert codes(answered) == [250]
    assert len(files(tmp_path, "example.org/a")) == 1


def test_a_record_of_a_mailbox_that_has_moved_is_looked_for_where_it_was(tmp_path: Path):
    service = make_service(tmp_path, detail=Detail.CREATE)
    first, _ = deliver(service, ["a+x@example.org"], BODY)
    first.release()
    inbox = make_service(tmp_path, detail=Detail.INBOX)
    inbox.intents = Intents(service.ledger, inbox.maildirs, deliver_without_ledger=False)
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
    inbox.intents = Intents(service.ledger, inbox.maildirs, deliver_without_ledger=False)

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


def broken_ledger(tmp_path: Path) -> Path:
    (tmp_path / "ledger-is-a-directory").mkdir()
    return tmp_path / "ledger-is-a-directory"


def test_without_a_ledger_nobody_is_promised_anything(tmp_path: Path):
    service = make_service(tmp_path, ledger_path=broken_ledger(tmp_path))

    _, answered = deliver(service, [A, B], BODY)

    assert answered == [replies.LEDGER_UNAVAILABLE] * 2
    assert files(tmp_path, "example.org/a") == []
    assert leftovers(tmp_path) == []


def test_a_site_may_choose_to_deliver_without_a_ledger(tmp_path: Path):
    service = make_service(tmp_path, ledger_path=broken_ledger(tmp_path), deliver_without_ledger=True)

    _, answered = deliver(service, [A], BODY)

    assert codes(answered) == [250]
    assert len(files(tmp_path, "example.org/a")) == 1


def test_duplicates_off_stores_every_attempt(tmp_path: Path):
    service = make_service(tmp_path, recognise=False)
    for _ in range(2):
        transaction, _ = deliver(service, [A], BODY)
        transaction.release()

    assert len(files(tmp_path, "example.org/a")) == 2


class Deciding:
    """A filter made of a function."""

    def __init__(self, decide: Callable[[Message, Mailbox], Plan]) -> None:
        self._decide = decide

    def decide(self, message: Message, mailbox: Mailbox) -> Plan:
        return self._decide(message, mailbox)


def test_a_bug_in_a_filter_defers_that_recipient_alone(tmp_path: Path):
    def decide(_: Message, mailbox: Mailbox) -> Plan:
        if mailbox.user == "a":
            raise KeyError("bug")
        return Plan()

    service = make_service(tmp_path, filter_=Deciding(decide))

    _, answered = deliver(service, [A, B], BODY)

    assert codes(answered) == [451, 250]
    assert isinstance(service.reporter, KeptReports)
    assert [type(bug) for bug in service.reporter.bugs] == [KeyError]


@pytest.mark.parametrize("body", [BODY, LARGE], ids=["small", "large"])
def test_a_filter_may_file_the_first_recipients_copy_elsewhere(tmp_path: Path, body: bytes):
    def decide(_: Message, mailbox: Mailbox) -> Plan:
        return Plan(folder="Lists/x" if mailbox.user == "a" else None)

    service = make_service(tmp_path, filter_=Deciding(decide), detail=Detail.CREATE)

    _, answered = deliver(service, [A, B], body)

    assert codes(answered) == [250, 250]
    (filed,) = files(tmp_path, "example.org/a", ".Lists.x")
    (kept,) = files(tmp_path, "example.org/b")
    assert body_of(filed) == body_of(kept) == body.replace(b"\r\n", b"\n")
    assert files(tmp_path, "example.org/a") == []
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("received, code", [(HOPS - 1, 250), (HOPS, 250), (HOPS + 1, 554)])
def test_a_loop_is_refused_after_100_hops(tmp_path: Path, received: int, code: int):
    _, answered = deliver(make_service(tmp_path), [A], b"Received: x\r\n" * received + b"\r\n")

    assert codes(answered) == [code]
    assert len(files(tmp_path, "example.org/a")) == (code == 250)


def test_detail_goes_to_a_folder_made_for_it(tmp_path: Path):
    service = make_service(tmp_path, detail=Detail.CREATE)

    deliver(service, ["a+Lists.x@example.org"], BODY)

    (file,) = files(tmp_path, "example.org/a", ".Lists.x")
    assert b"Delivered-To: a+Lists.x@example.org\n" in file.read_bytes()
    assert (tmp_path / "mail/example.org/a/.Lists.x/maildirfolder").exists()
    assert (tmp_path / "mail/example.org/a/new").is_dir()


def test_a_folder_that_vanishes_is_the_inbox(tmp_path: Path):
    service = make_service(tmp_path)
    (tmp_path / "mail/example.org/a/.x").mkdir(parents=True)
    transaction = begin(service, ["a+x@example.org"])
    (tmp_path / "mail/example.org/a/.x").rmdir()

    transaction.open_body()
    transaction.write(BODY)

    assert codes(list(transaction.deliver(Client(), None))) == [250]
    assert len(files(tmp_path, "example.org/a")) == 1


def test_dropping_a_transaction_leaves_nothing(tmp_path: Path):
    service = make_service(tmp_path)
    for size in (10, 1_000_000):
        transaction = begin(service, [A])
        transaction.open_body()
        transaction.write(b"x" * size)
        transaction.drop()
        transaction.drop()

    assert files(tmp_path, "example.org/a") == []
    assert leftovers(tmp_path) == []


def test_hold_publishes_at_the_conclusion(tmp_path: Path):
    service = make_service(tmp_path, commit=Commit.HOLD)

    transaction, answered = deliver(service, [A, A, B], BODY)
    before = files(tmp_path, "example.org/a")
    transaction.conclude()

    assert codes(answered) == [250, 250, 250]
    assert before == []
    assert len(files(tmp_path, "example.org/a")) == len(files(tmp_path, "example.org/b")) == 1
    assert leftovers(tmp_path) == []


def test_hold_forgets_what_is_dropped(tmp_path: Path):
    service = make_service(tmp_path, commit=Commit.HOLD)

    transaction, answered = deliver(service, [A], BODY)
    transaction.drop()
    transaction.conclude()

    assert codes(answered) == [250]
    assert files(tmp_path, "example.org/a") == []
    assert leftovers(tmp_path) == []


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
    assert set(reports[0].phases_ms) == {"receive", "stage", "record", "publish", "sync"}
