import gc
import re
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest

from lmtpd.delivery.barrier import Verdict
from lmtpd.delivery.message import Message
from lmtpd.delivery.plan import HOPS, Plan
from lmtpd.delivery.transaction import Transaction
from lmtpd.protocol import replies
from lmtpd.recipients.mailbox import Mailbox
from lmtpd.recipients.maildirs import Detail
from storage.disk import Disk
from tests.support.services import (
    BODY,
    LARGE,
    A,
    B,
    C,
    Client,
    KeptReports,
    begin,
    body_of,
    codes,
    deliver,
    files,
    leftovers,
    make_service,
    offered,
)


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


def test_nothing_keeps_a_transaction_that_has_ended(tmp_path: Path):
    """Nor the directories that its copies hold open: descriptors are not for the collector to find."""
    service = make_service(tmp_path)
    deliver(service, [A, B], BODY)[0].confirm()  # what is made once is made
    transaction, _ = deliver(service, [A, B], BODY)
    watched = weakref.ref(transaction)
    transaction.confirm()

    gc.disable()
    try:
        del transaction
        is_kept = watched() is not None
    finally:
        gc.enable()

    assert not is_kept
