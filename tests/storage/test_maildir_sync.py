"""A delivery is durable by a sync of new/ that began behind its rename, never by an earlier one."""

import errno
from threading import Event, Semaphore, Thread

import pytest

from storage.errors import StorageError
from storage.maildir import Durability
from tests.support.memory_disk import MemoryDisk
from tests.support.storing import PATH, ROOT, USER, deliver, maildirs_on

DEADLINE_S = 10
NEW = f"{PATH}/new"


@pytest.fixture
def disk():
    disk = MemoryDisk()
    disk.make(ROOT)
    return disk


@pytest.fixture
def maildirs(disk):
    return maildirs_on(disk)


@pytest.fixture
def maildir(disk, maildirs):
    maildir = maildirs.open(USER, create=True)
    disk.log.clear()
    return maildir


def fail_next(disk, number, *, at=1):
    disk.fail(len(disk.log) + at, OSError(number, "injected"))


class SlowSync:
    """Holds up the syncs of new/, one by one, until the test lets them go."""

    def __init__(self, disk: MemoryDisk) -> None:
        self.began = Semaphore(0)
        self._may_end = Semaphore(0)
        disk.on_call = self._on_call

    def _on_call(self, call: str, where: str) -> None:
        if (call, where) == ("sync", NEW):
            self.began.release()
            assert self._may_end.acquire(timeout=DEADLINE_S)

    def wait(self) -> None:
        assert self.began.acquire(timeout=DEADLINE_S)

    def let_go(self, times: int = 1) -> None:
        self._may_end.release(times)


def in_threads(count, action):
    threads = [Thread(target=action, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    return threads


def join(threads):
    for thread in threads:
        thread.join(DEADLINE_S)
        assert not thread.is_alive()


def test_a_sync_makes_everything_published_durable(disk, maildirs):
    name = deliver(maildirs, b"hello")

    disk.restart()

    assert disk.files(NEW) == {name: b"hello"}


def test_a_sync_that_began_before_the_rename_does_not_serve_it(disk, maildirs, maildir):
    slow = SlowSync(disk)
    acknowledged = Event()
    first = in_threads(1, lambda: deliver(maildirs, b"first"))
    slow.wait()

    def second():
        deliver(maildirs, b"second")
        acknowledged.set()

    later = in_threads(1, second)
    slow.let_go()
    join(first)
    slow.wait()
    assert not acknowledged.is_set()
    slow.let_go()
    join(later)

    calls = [call for call in disk.log if call[0] == "rename_exclusive" or call == ("sync", NEW)]
    assert calls[-1] == ("sync", NEW)
    assert calls.count(("sync", NEW)) == 2


def test_a_failed_sync_is_told(disk, maildir):
    fail_next(disk, errno.EIO)

    with pytest.raises(StorageError, match="injected"):
        maildir.sync()


@pytest.mark.parametrize("durable", [Durability.DATA, Durability.NONE])
def test_a_directory_is_not_synced_unless_all_is_to_be_durable(disk, durable):
    maildir = maildirs_on(disk, durable=durable).open(USER, create=True)

    maildir.sync()

    assert [call for call, _ in disk.log if call == "sync"] == []
