"""One copy for many recipients: what is shared, and that every recipient has an outcome of his own."""

import errno
import os
from pathlib import Path

import pytest

from lmtpd.delivery.headings import SingleInstance
from lmtpd.delivery.message import Message
from lmtpd.delivery.outcomes import Cause, Refused
from lmtpd.delivery.plan import Plan
from lmtpd.delivery.service import Service
from lmtpd.recipients.mailbox import Mailbox
from storage.disk import Disk
from tests.support.faulty_disk import FaultyDisk
from tests.support.services import BODY, LARGE, A, B, C, codes, deliver, files, leftovers, make_service

SIZES = pytest.mark.parametrize("body", [BODY, LARGE], ids=["small", "large"])


def linking(tmp_path: Path, disk: Disk | None = None, **how: object) -> Service:
    service = make_service(tmp_path, disk=disk, **how)  # type: ignore[arg-type]  # as make_service takes it
    service.single_instance = SingleInstance.LINK
    return service


def inodes(tmp_path: Path, users: str = "abc") -> list[int]:
    return [file.stat().st_ino for user in users for file in files(tmp_path, f"example.org/{user}")]


@SIZES
def test_equal_copies_are_one_file(tmp_path: Path, body: bytes):
    transaction, answered = deliver(linking(tmp_path), [A, B, C], body)

    first, *others = [files(tmp_path, f"example.org/{user}")[0] for user in "abc"]
    heading = first.read_bytes().removesuffix(body.replace(b"\r\n", b"\n"))
    assert [reply.lines[0].split()[0] for reply in answered] == [f"<{one}>" for one in (A, B, C)]
    assert len(set(inodes(tmp_path))) == 1
    assert first.stat().st_nlink == 3
    assert heading.endswith(b"\n")
    assert b"@example.org" not in heading
    assert all(f",S={first.stat().st_size}," in file.name for file in (first, *others))
    assert len({file.name for file in (first, *others)}) == 3
    assert leftovers(tmp_path) == []
    transaction.confirm()


@SIZES
def test_a_retry_is_recognised_for_each(tmp_path: Path, body: bytes):
    service = linking(tmp_path)
    first, _ = deliver(service, [A, B], body)
    first.release()

    again, answered = deliver(service, [A, B, C], body)
    again.confirm()

    assert codes(answered) == [250, 250, 250]
    assert [len(files(tmp_path, f"example.org/{user}")) for user in "abc"] == [1, 1, 1]
    assert leftovers(tmp_path) == []


def test_alone_a_recipient_has_his_fields(tmp_path: Path):
    deliver(linking(tmp_path), [A], BODY)

    (file,) = files(tmp_path, "example.org/a")
    assert b"\nDelivered-To: a@example.org\n" in file.read_bytes()


@SIZES
def test_the_trouble_of_one_is_not_that_of_the_others(tmp_path: Path, body: bytes):
    service = linking(tmp_path)
    (tmp_path / "mail/example.org/b").mkdir(parents=True)
    (tmp_path / "mail/example.org/b/new").write_text("no directory")

    _, answered = deliver(service, [A, B, C], body)

    assert codes(answered) == [250, 451, 250]
    assert len(set(inodes(tmp_path, "ac"))) == 1


@SIZES
@pytest.mark.parametrize("refused", ["a", "b"])
def test_who_refuses_takes_nothing_from_the_others(tmp_path: Path, body: bytes, refused: str):
    class Picky:
        def decide(self, message: Message, mailbox: Mailbox) -> Plan:
            refusal = Refused(Cause.LOOP, "") if mailbox.user == refused else None
            return Plan(refusal=refusal)

    _, answered = deliver(linking(tmp_path, filter_=Picky()), [A, B, C], body)

    assert [code // 100 for code in codes(answered)] == [5 if user == refused else 2 for user in "abc"]
    assert len(inodes(tmp_path)) == 2
    assert len(set(inodes(tmp_path))) == 1
    assert leftovers(tmp_path) == []


@SIZES
def test_a_link_that_fails_is_a_copy(tmp_path: Path, body: bytes):
    class NoLinks(Disk):
        def link(self, name: str, new_name: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
            raise OSError(errno.EMLINK, os.strerror(errno.EMLINK))

    _, answered = deliver(linking(tmp_path, NoLinks()), [A, B, C], body)

    assert codes(answered) == [250, 250, 250]
    assert len(set(inodes(tmp_path))) == 3
    assert len({file.read_bytes() for user in "abc" for file in files(tmp_path, f"example.org/{user}")}) == 1
    assert leftovers(tmp_path) == []


def test_whom_the_first_write_fails_leaves_the_next_to_write(tmp_path: Path):
    disk = FaultyDisk("write", errno.ENOSPC)
    disk.user = "a"

    _, answered = deliver(linking(tmp_path, disk), [A, B, C], BODY)

    assert codes(answered) == [452, 250, 250]
    assert len(set(inodes(tmp_path, "bc"))) == 1
    assert len(inodes(tmp_path, "bc")) == 2


def test_one_file_that_cannot_be_synced_is_in_no_mailbox(tmp_path: Path):
    _, answered = deliver(linking(tmp_path, FaultyDisk("sync", errno.EIO)), [A, B, C], BODY)

    assert codes(answered) == [451, 451, 451]
    assert inodes(tmp_path) == []
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("failing", ["rename", "sync_directory"])
def test_publishing_is_each_recipients_own(tmp_path: Path, failing: str):
    service = linking(tmp_path, disk := FaultyDisk(failing, errno.EIO))
    disk.user = "nobody"
    warm, _ = deliver(service, [A, B, C], BODY)
    warm.confirm()

    disk.user = "b"
    _, answered = deliver(service, [A, B, C], BODY)

    assert codes(answered) == [250, 451, 250]


def test_shared_bodies_are_whole_with_each_recipients_fields(tmp_path: Path):
    service = make_service(tmp_path)
    service.single_instance = SingleInstance.SHARE

    _, answered = deliver(service, [A, "somebody-else@example.org", C], LARGE)

    assert codes(answered) == [250, 250, 250]
    sizes = set()
    for user in ("a", "somebody-else", "c"):
        (file,) = files(tmp_path, f"example.org/{user}")
        assert f"\nDelivered-To: {user}@example.org\n".encode() in file.read_bytes()
        assert file.read_bytes().endswith(b"\n" + LARGE.replace(b"\r\n", b"\n"))
        assert f",S={file.stat().st_size}," in file.name
        sizes.add(file.stat().st_size)
    assert len(sizes) == 1
