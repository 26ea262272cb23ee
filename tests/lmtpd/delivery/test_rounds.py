"""Deliveries that go through the steps together: they share calls, and never fate."""

import errno
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from lmtpd.delivery.barrier import Verdict
from lmtpd.delivery.rounds import Delivery
from lmtpd.delivery.transaction import Transaction
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
    codes,
    files,
    leftovers,
    make_service,
)


class WatchedDisk(Disk):
    """A disk that counts what makes things durable, fails at one step, and may be held up."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.fails = ""
        self.gate = threading.Event()
        self.gate.set()
        self.at_gate = threading.Semaphore(0)

    def can_sync_file_system(self, fd: int) -> bool:
        return True

    def sync_file_system(self, fd: int) -> None:
        self._step("syncfs")
        super().sync_file_system(fd)

    def sync(self, fd: int) -> None:
        self._step("fsync")
        super().sync(fd)

    def create(self, name: str, *, dir_fd: int | None = None) -> int:
        self.at_gate.release()
        assert self.gate.wait(10)
        return super().create(name, dir_fd=dir_fd)

    def _step(self, name: str) -> None:
        self.calls.append(name)
        if self.fails == name:
            raise OSError(errno.EIO, "injected")


def ended(service, *recipients: str, body: bytes = BODY, client: Client | None = None):
    """Open a transaction and send it its body; return it with its delivery."""
    transaction = begin(service, recipients)
    transaction.open_body()
    transaction.write(body)
    return transaction, transaction.end_body(client or Client(), None)


def in_one_round(service, *pairs: tuple[Transaction, Delivery]) -> list[list[int]]:
    """Deliver all of them together; return their replies' codes."""
    service.rounds._perform([delivery for _, delivery in pairs])
    for _, delivery in pairs:
        service.rounds.settle(delivery)
    return [codes(list(transaction.replies())) for transaction, _ in pairs]


def test_a_round_costs_four_syncs_however_many_are_in_it(tmp_path: Path):
    disk = WatchedDisk()
    service = make_service(tmp_path, disk=disk)
    for user in (A, B, C):
        in_one_round(service, ended(service, user, body=user.encode()))
    disk.calls.clear()

    replies = in_one_round(service, *(ended(service, user, body=BODY) for user in (A, B, C)))

    assert replies == [[250]] * 3
    assert disk.calls == ["syncfs", "fsync"] * 2
    assert [len(files(tmp_path, f"example.org/{user}")) for user in "abc"] == [2, 2, 2]


def test_who_has_gone_is_discarded_alone(tmp_path: Path):
    service = make_service(tmp_path, disk=WatchedDisk())
    gone = ended(service, B, client=Client(Verdict.GONE))

    replies = in_one_round(service, ended(service, A), gone, ended(service, C))

    assert replies == [[250], [451], [250]]
    assert files(tmp_path, "example.org/b") == []
    assert leftovers(tmp_path) == []


def test_equal_messages_in_one_round_are_not_both_stored(tmp_path: Path):
    service = make_service(tmp_path, disk=WatchedDisk())
    first, second = ended(service, A), ended(service, A)

    service.rounds._perform([first[1], second[1]])

    assert [delivery.waits for _, delivery in (first, second)] == [False, True]
    assert codes(list(first[0].replies())) == [250]
    first[0].release()  # its reply was lost: the other is its retry
    service.rounds.settle(second[1])
    assert codes(list(second[0].replies())) == [250]
    assert len(files(tmp_path, "example.org/a")) == 1


def test_a_failed_sync_defers_all_and_leaves_nothing(tmp_path: Path):
    disk = WatchedDisk()
    service = make_service(tmp_path, disk=disk)
    pairs = [ended(service, user) for user in (A, B)]
    disk.fails = "syncfs"

    assert in_one_round(service, *pairs) == [[451], [451]]

    assert files(tmp_path, "example.org/a") == []
    assert leftovers(tmp_path) == []


def test_a_bug_in_a_round_is_everybodys_451_and_reported_by_its_connections(tmp_path: Path, monkeypatch):
    service = make_service(tmp_path, disk=WatchedDisk())
    _, delivery = ended(service, A)
    monkeypatch.setattr(service.rounds, "_commit", lambda *_: 1 / 0)
    done = threading.Event()

    # The committer has the method as it was bound: a bug below it is what it sees.
    service.rounds.submit(delivery, done.set)

    assert done.wait(10)
    with pytest.raises(ZeroDivisionError):
        service.rounds.settle(delivery)
    service.rounds.close()


def test_what_comes_during_a_round_goes_together_in_the_next(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("lmtpd.delivery.rounds.COMMITTERS", 1)
    disk = WatchedDisk()
    service = make_service(tmp_path, disk=disk)
    rounds: list[int] = []
    perform = service.rounds._perform

    def counted(batch: Sequence[Delivery]) -> None:
        rounds.append(len(batch))
        perform(batch)

    monkeypatch.setattr(service.rounds, "_perform", counted)
    pairs = [ended(service, A, body=b"Subject: %d\r\n" % number) for number in range(5)]
    disk.gate.clear()
    done = threading.Semaphore(0)

    service.rounds.submit(pairs[0][1], done.release)
    assert disk.at_gate.acquire(timeout=10)
    for _, delivery in pairs[1:]:
        service.rounds.submit(delivery, done.release)
    disk.gate.set()
    for _ in pairs:
        assert done.acquire(timeout=10)

    assert rounds == [1, 4]
    assert {code for transaction, _ in pairs for code in codes(list(transaction.replies()))} == {250}
    service.rounds.close()


@pytest.mark.parametrize("why", ["not a local file system", "all refused"])
def test_what_goes_alone(tmp_path: Path, why: str):
    class Remote(Disk):
        def can_sync_file_system(self, fd: int) -> bool:
            return False

    service = make_service(tmp_path, disk=Remote() if why == "not a local file system" else WatchedDisk())
    transaction, delivery = ended(service, A)
    if why == "all refused":
        for copy in delivery.copies:
            copy.maildir = None

    assert delivery.file_system is None
    transaction.drop()


def test_a_large_body_is_synced_by_itself(tmp_path: Path):
    """Its file was begun before the round, and an error since then would be told to somebody else."""
    disk = WatchedDisk()
    service = make_service(tmp_path, disk=disk)
    in_one_round(service, ended(service, A), ended(service, B))
    pairs = [ended(service, A, B, body=LARGE)]
    disk.calls.clear()

    assert in_one_round(service, *pairs) == [[250, 250]]

    assert disk.calls == ["fsync", "fsync", "syncfs", "fsync"]


def test_reports_are_of_the_recipients_own(tmp_path: Path):
    service = make_service(tmp_path, disk=WatchedDisk())
    in_one_round(service, ended(service, A), ended(service, B, client=Client(Verdict.GONE)))

    assert isinstance(service.reporter, KeptReports)
    assert [(report.recipient, report.outcome) for report in service.reporter.reports] == [
        (A, "delivered"),
        (B, "deferred"),
    ]


def test_without_a_thread_a_round_takes_place_all_the_same(tmp_path: Path, monkeypatch):
    service = make_service(tmp_path, disk=WatchedDisk())
    transaction, delivery = ended(service, A)
    done = threading.Event()

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)

    service.rounds.submit(delivery, done.set)

    assert done.is_set()
    assert codes(list(transaction.replies())) == [250]
