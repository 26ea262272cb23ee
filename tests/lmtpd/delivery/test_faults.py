import errno
from pathlib import Path

import pytest

from lmtpd.protocol import replies
from tests.support.faulty_disk import FaultyDisk
from tests.support.services import (
    BODY,
    LARGE,
    A,
    B,
    C,
    Client,
    begin,
    body_of,
    codes,
    deliver,
    files,
    leftovers,
    make_service,
    offered,
)


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
