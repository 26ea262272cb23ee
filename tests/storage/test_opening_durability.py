"""When the directories on the way to a Maildir are durable, whoever made them."""

import errno

import pytest

from storage import opening
from storage.directory import open_root
from storage.errors import StorageError
from storage.maildir import MaildirPath
from storage.opening import GRAIN_S, YOUNG_S, EntrySyncs
from tests.support.memory_disk import MemoryDisk
from tests.support.storing import PATH, ROOT, USER, deliver, maildirs_on

CHAIN = [ROOT, f"{ROOT}/example.org", PATH]


@pytest.fixture
def now():
    """The time of both clocks, in s; tests move it."""
    return [1_760_000_000.0]


@pytest.fixture
def disk(now):
    disk = MemoryDisk(clock=lambda: int(now[0] * 10**9))
    disk.make(ROOT)
    return disk


def synced(disk):
    return [where for call, where in disk.log if call == "sync"]


def test_everything_up_to_the_root_is_synced_when_it_was_made(disk, now):
    maildirs_on(disk, clock=lambda: now[0]).open(USER, create=True)

    assert synced(disk) == list(reversed(CHAIN))


def test_a_folder_needs_its_maildir_only(disk, now):
    disk.make(f"{PATH}/new")
    now[0] += YOUNG_S + 1

    folder = MaildirPath(ROOT, (*USER.parts, ".Sent"))
    maildirs_on(disk, clock=lambda: now[0]).open(folder, create=True)

    assert synced(disk) == [f"{PATH}/.Sent", PATH]


def make_old(disk, now):
    disk.make(f"{PATH}/new")
    disk.make(f"{PATH}/cur")
    disk.make(f"{PATH}/tmp")
    now[0] += 2 * YOUNG_S


def test_an_old_maildir_is_not_synced_at_all(disk, now):
    make_old(disk, now)

    maildirs_on(disk, clock=lambda: now[0]).open(USER, create=False)

    assert synced(disk) == []


@pytest.mark.parametrize(
    "age_s, is_young", [(YOUNG_S - 1, True), (YOUNG_S, True), (YOUNG_S + 1, False), (-60, True)]
)
def test_a_directory_that_changed_lately_is_synced_whoever_changed_it(disk, now, age_s, is_young):
    make_old(disk, now)
    disk.put(f"{ROOT}/example.org/other")
    disk.unlink(f"{ROOT}/example.org/other")
    now[0] += age_s

    maildirs_on(disk, clock=lambda: now[0]).open(USER, create=False)

    assert synced(disk) == ([f"{ROOT}/example.org"] if is_young else [])


def ensure(syncs, disk):
    disk.log.clear()
    syncs.ensure([open_root(disk, ROOT)])
    return synced(disk) == [ROOT]


@pytest.mark.parametrize("age_s, is_remembered", [(GRAIN_S, False), (GRAIN_S + 0.1, True)])
def test_a_directory_is_synced_once_if_its_last_change_is_certain(disk, now, age_s, is_remembered):
    syncs = EntrySyncs(lambda: now[0])
    now[0] += age_s

    assert ensure(syncs, disk)
    assert ensure(syncs, disk) is not is_remembered


def test_a_directory_that_changed_again_is_synced_again(disk, now):
    syncs = EntrySyncs(lambda: now[0])
    now[0] += 60
    ensure(syncs, disk)

    disk.make_directory(f"{ROOT}/b", 0o700)

    assert ensure(syncs, disk)


def test_another_directory_in_its_place_is_synced(disk, now):
    syncs = EntrySyncs(lambda: now[0])
    now[0] += 60
    ensure(syncs, disk)

    disk.remove(ROOT)
    disk.make(ROOT)

    assert ensure(syncs, disk)


@pytest.mark.parametrize("others, is_remembered", [(1, True), (2, False)])
def test_what_is_remembered_is_bounded(disk, now, monkeypatch, others, is_remembered):
    monkeypatch.setattr(opening, "REMEMBERED", 2)
    syncs = EntrySyncs(lambda: now[0])
    now[0] += 60
    ensure(syncs, disk)
    for number in range(others):
        disk.make(f"/other/{number}")
    now[0] += 60
    syncs.ensure(open_root(disk, f"/other/{number}") for number in range(others))

    assert ensure(syncs, disk) is not is_remembered


def test_a_sync_that_failed_is_not_remembered(disk, now):
    syncs = EntrySyncs(lambda: now[0])
    now[0] += 60
    disk.fail(3, OSError(errno.EIO, "broken"))
    with pytest.raises(OSError, match="broken"):
        syncs.ensure([open_root(disk, ROOT)])

    assert ensure(syncs, disk)


@pytest.mark.parametrize("step", range(1, 40))
def test_an_attempt_that_died_leaves_nothing_half_durable(now, step):
    """Kill the first process at each call; what the second acknowledges survives a cut right after."""
    disk = MemoryDisk(clock=lambda: int(now[0] * 10**9))
    disk.make(ROOT)
    now[0] += YOUNG_S + 1
    disk.fail(step, Killed())
    try:
        deliver(maildirs_on(disk, clock=lambda: now[0]), b"first")
    except Killed:
        pass
    disk.kill_process()

    name = deliver(maildirs_on(disk, clock=lambda: now[0]), b"second")
    disk.restart()

    assert disk.files(f"{PATH}/new")[name] == b"second"


@pytest.mark.parametrize("step", range(1, 40))
def test_an_attempt_that_failed_leaves_nothing_half_durable(now, step):
    """The same, with an error in the first attempt and the second in the same process."""
    disk = MemoryDisk(clock=lambda: int(now[0] * 10**9))
    disk.make(ROOT)
    now[0] += YOUNG_S + 1
    maildirs = maildirs_on(disk, clock=lambda: now[0])
    disk.fail(step, OSError(errno.EIO, "injected"))
    try:
        deliver(maildirs, b"first")
    except StorageError:
        pass
    disk.faults.clear()

    name = deliver(maildirs, b"second")
    disk.restart()

    assert disk.files(f"{PATH}/new")[name] == b"second"


class Killed(BaseException):
    """SIGKILL: the process is gone, the machine runs on."""
