"""What stands against a recipient is answered at RCPT, for that recipient alone."""

import errno
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from lmtpd.delivery.breaker import Breaker
from lmtpd.delivery.service import Service
from lmtpd.delivery.slots import Slots
from lmtpd.protocol import replies
from lmtpd.protocol.addresses import Address
from lmtpd.recipients.mailbox import Unavailable
from storage.disk import Disk
from storage.errors import from_oserror
from tests.support.admissions import answer, causes, limited
from tests.support.clocks import Clock
from tests.support.faulty_disk import FaultyDisk
from tests.support.services import (
    BODY,
    LARGE,
    A,
    B,
    begin,
    codes,
    deliver,
    files,
)

# ---- a mailbox that does not answer ---------------------------------------------------------------


class HangingDisk(Disk):
    """One call below one user's mailbox hangs until it is let go."""

    def __init__(self, call: str, user: str) -> None:
        self.call, self.user = call, user
        self.inside = threading.Semaphore(0)
        self.let_go = threading.Event()

    def _hang(self, call: str, path: str) -> None:
        if call == self.call and f"/{self.user}" in path and not self.let_go.is_set():
            self.inside.release()
            self.let_go.wait(10)

    def status(self, name: str, *, dir_fd: int | None = None) -> os.stat_result:
        self._hang("status", name)
        return super().status(name, dir_fd=dir_fd)

    def create(self, name: str, *, dir_fd: int | None = None) -> int:
        self._hang("create", os.readlink(f"/proc/self/fd/{dir_fd}"))
        return super().create(name, dir_fd=dir_fd)

    def write(self, fd: int, data: bytes | memoryview) -> int:
        self._hang("write", os.readlink(f"/proc/self/fd/{fd}"))
        return super().write(fd, data)

    def sync(self, fd: int) -> None:
        self._hang("sync", os.readlink(f"/proc/self/fd/{fd}"))
        super().sync(fd)


@contextmanager
def hanging(service: Service, disk: HangingDisk, count: int, body: bytes) -> Iterator[None]:
    """Have so many deliveries hang in A's mailbox."""
    bodies = [b"X-Number: %d\r\n%b" % (number, body) for number in range(count)]  # no retries of each other
    threads = [threading.Thread(target=deliver, args=(service, [A], each)) for each in bodies]
    for thread in threads:
        thread.start()
    try:
        for _ in threads:
            assert disk.inside.acquire(timeout=10)
        yield
    finally:
        disk.let_go.set()
        for thread in threads:
            thread.join(10)


@pytest.mark.parametrize("call", ["status", "create", "write", "sync"])
@pytest.mark.parametrize("body", [BODY, LARGE], ids=["small", "large"])
def test_a_mailbox_that_hangs_is_answered_451_and_the_others_get_their_mail(tmp_path, call, body):
    disk = HangingDisk(call, "a")
    service = limited(tmp_path, disk=disk, slots=Slots(2, 0.0))

    with hanging(service, disk, 2, body):
        assert answer(service, A) is replies.MAILBOX_BUSY
        assert codes(deliver(service, [B], body)[1]) == [250]
        assert ("deferred", "mailbox_busy") in causes(service)

    assert answer(service, A) is replies.RECIPIENT_OK


@pytest.mark.parametrize("hanging_there, code", [(1, 250), (2, 451), (3, 451)])
def test_as_many_deliveries_as_the_limit_are_too_many_for_another(tmp_path, hanging_there, code):
    disk = HangingDisk("create", "a")
    service = limited(tmp_path, disk=disk, slots=Slots(2, 3600.0))

    with hanging(service, disk, hanging_there, BODY):
        assert answer(service, A) is replies.RECIPIENT_OK  # nobody is slow yet
        assert service.admission is not None
        service.admission._slots._slow_s = 0.0  # type: ignore[union-attr]

        assert answer(service, A).code == code


def test_a_client_that_sends_slowly_is_not_at_work_in_the_mailbox(tmp_path):
    service = limited(tmp_path, slots=Slots(1, 0.0))

    transaction = begin(service, [A])
    transaction.open_body()
    transaction.write(b"Subject: slow\r\n")

    assert answer(service, A) is replies.RECIPIENT_OK
    transaction.drop()


# ---- a file system that fails ---------------------------------------------------------------------


def make_breaker(faults: int, clock: Clock) -> Breaker:
    return Breaker(faults, 30.0, opened=lambda *_: None, closed=lambda _: None, clock=clock)


@pytest.mark.parametrize(
    "code, reply",
    [
        (errno.ENOSPC, replies.NO_SPACE),
        (errno.EIO, replies.FILE_SYSTEM_FAULT),
        (errno.ESTALE, replies.FILE_SYSTEM_FAULT),
    ],
)
@pytest.mark.parametrize("call", ["create", "write", "sync", "rename"])
@pytest.mark.parametrize("body", [BODY, LARGE], ids=["small", "large"])
def test_a_file_system_that_fails_is_not_touched_any_more(tmp_path, call, code, reply, body):
    clock = Clock()
    disk = FaultyDisk(call, code)
    service = limited(tmp_path, disk=disk, breaker=make_breaker(2, clock))

    for recipient in (A, B):
        assert answer(service, recipient) is replies.RECIPIENT_OK
        deliver(service, [recipient], body)

    assert answer(service, A) is reply
    assert answer(service, "new@example.org") is reply
    assert causes(service)[-1] == ("deferred", "file_system")


def test_a_probe_that_is_delivered_puts_it_into_use_again(tmp_path):
    clock = Clock()
    disk = FaultyDisk("create", errno.EIO)
    service = limited(tmp_path, disk=disk, breaker=make_breaker(1, clock))
    deliver(service, [A], BODY)
    assert answer(service, B) is replies.FILE_SYSTEM_FAULT

    disk.call = "nothing fails"
    clock.now += 30.0
    deliver(service, [A], BODY)

    assert answer(service, B) is replies.RECIPIENT_OK
    assert len(files(tmp_path, "example.org/a")) == 1


def test_a_fault_of_the_mailbox_alone_does_not_count(tmp_path):
    disk = FaultyDisk("create", errno.EDQUOT)
    service = limited(tmp_path, disk=disk, breaker=make_breaker(1, Clock()))

    deliver(service, [A], BODY)

    assert answer(service, A) is replies.RECIPIENT_OK


def test_faults_at_the_look_up_count(tmp_path):
    service = limited(tmp_path, breaker=make_breaker(2, Clock()))

    class Failing:
        name = "failing"

        def find(self, address: Address) -> Unavailable:
            return Unavailable("stale", from_oserror(OSError(errno.ESTALE, "stale")))

    assert service.admission is not None
    service.admission._directory = Failing()  # type: ignore[assignment]
    answered = [answer(service, recipient) for recipient in (A, B, A)]

    assert answered == [replies.LOOKUP_FAILED, replies.LOOKUP_FAILED, replies.FILE_SYSTEM_FAULT]


def test_a_mailbox_on_another_file_system_is_known_by_its_deliveries(tmp_path):
    clock = Clock()
    disk = FaultyDisk("create", errno.EIO)
    disk.user = "a"
    service = limited(tmp_path, disk=disk, breaker=make_breaker(1, clock))
    assert service.admission is not None
    service.admission._device = 0  # the root is on another one
    assert codes(deliver(service, [B], BODY)[1]) == [250]

    deliver(service, [A], BODY)

    assert answer(service, A) is replies.FILE_SYSTEM_FAULT
    assert answer(service, B) is replies.FILE_SYSTEM_FAULT
    assert answer(service, "elsewhere@example.org") is replies.RECIPIENT_OK
