"""One syncfs for a round: only where it does what every fsync would, and with errors that are everybody's."""

import errno

import pytest

from storage.errors import StorageError
from storage.maildir import Durability, MaildirPath
from storage.syncing import PAUSE_S, SLOW_S, SyncPace
from tests.support.memory_disk import MemoryDisk
from tests.support.storing import ROOT, maildirs_on

USERS = [MaildirPath(ROOT, ("example.org", user)) for user in "abc"]


@pytest.fixture
def disk():
    disk = MemoryDisk()
    disk.syncs_whole = True
    disk.make(ROOT)
    return disk


def opened(disk, durable=Durability.FULL):
    maildirs = maildirs_on(disk, durable=durable)
    return [maildirs.open(user, create=True) for user in USERS]


def written(maildirs):
    staged = [maildir.stage() for maildir in maildirs]
    for each in staged:
        each.write(b"hello")
    return staged


def syncs(disk):
    return [call for call, _ in disk.log if call.startswith("sync")]


def fail_next(disk, number, *, behind=0):
    disk.fail(len(disk.log) + behind + 1, OSError(number, "injected"))


def test_one_call_serves_all_files_and_one_all_directories(disk):
    maildirs = opened(disk)
    with maildirs[0].begin_round() as sync:
        staged = written(maildirs)
        disk.log.clear()

        assert sync.files(staged) == {}
        for each in staged:
            each.publish(each.name)
        assert sync.directories(maildirs) == {}

    assert syncs(disk) == ["sync_file_system", "sync"] * 2
    disk.restart()
    assert [list(disk.files(f"{user.path}/new").values()) for user in USERS] == [[b"hello"]] * 3


@pytest.mark.parametrize("count", [0, 1])
def test_one_alone_is_synced_by_itself(disk, count):
    maildirs = opened(disk)[:count]
    with opened(disk)[0].begin_round() as sync:
        staged = written(maildirs)
        disk.log.clear()

        assert sync.files(staged) == {}
        for each in staged:
            each.publish(each.name)
        assert sync.directories(maildirs) == {}

    assert syncs(disk) == ["sync"] * 2 * count


def test_where_the_file_system_cannot_every_file_is_synced(disk):
    disk.syncs_whole = False
    maildirs = opened(disk)
    with maildirs[0].begin_round() as sync:
        staged = written(maildirs)
        disk.log.clear()

        assert sync.files(staged) == {}

    assert syncs(disk) == ["sync"] * 3
    assert {maildir.shared_device for maildir in maildirs} == {None}


def test_the_handle_is_opened_before_anything_is_written(disk):
    """The kernel tells of an error once for each open file description, and never of earlier ones."""
    maildirs = opened(disk)
    disk.log.clear()

    with maildirs[0].begin_round() as sync:
        sync.files(written(maildirs))

    calls = [call for call, _ in disk.log]
    assert calls[0] == "open_directory"
    assert calls.index("create") < calls.index("sync_file_system")


def test_an_error_is_final_for_every_file_of_the_round(disk):
    maildirs = opened(disk)
    with maildirs[0].begin_round() as sync:
        staged = written(maildirs)
        fail_next(disk, errno.EIO, behind=len(staged) - 1)  # behind the closes

        errors = sync.files(staged)

    assert {type(error) for error in errors.values()} == {StorageError}
    assert set(errors) == set(staged)
    assert [disk.files(f"{user.path}/tmp") for user in USERS] == [{}] * 3
    for each in staged:
        with pytest.raises(StorageError):
            each.publish(each.name)


def test_a_file_that_cannot_be_closed_is_lost_alone(disk, monkeypatch):
    maildirs = opened(disk)
    with maildirs[0].begin_round() as sync:
        staged = written(maildirs)
        close, broken = disk.close, staged[1].fd

        def failing(fd):
            close(fd)
            if fd == broken:
                raise OSError(errno.EIO, "injected")

        monkeypatch.setattr(disk, "close", failing)

        assert list(sync.files(staged)) == [staged[1]]

    staged[0].publish(staged[0].name)
    staged[2].publish(staged[2].name)


def test_an_error_of_the_directories_leaves_it_open_for_all(disk):
    maildirs = opened(disk)
    with maildirs[0].begin_round() as sync:
        fail_next(disk, errno.EIO)

        errors = sync.directories(maildirs)

    assert set(errors) == set(maildirs)


def test_a_file_system_that_became_read_only_is_noticed(disk):
    """syncfs says "done" there; the file that is synced behind it tells."""
    maildirs = opened(disk)
    with maildirs[0].begin_round() as sync:
        staged = written(maildirs)
        fail_next(disk, errno.EROFS, behind=len(staged))  # behind the closes and the syncfs

        assert set(sync.files(staged)) == set(staged)

        fail_next(disk, errno.EROFS, behind=1)
        assert set(sync.directories(maildirs)) == set(maildirs)


def test_names_of_one_file_follow_it(disk):
    first, second, third = opened(disk)
    with first.begin_round() as sync:
        original, other = written([first, third])
        link = second.stage_link(original)
        assert link is not None

        assert sync.files([original, link, other]) == {}

        link.publish(link.name)


def test_names_of_a_lost_file_are_lost_with_it(disk):
    first, second, third = opened(disk)
    with first.begin_round() as sync:
        original, other = written([first, third])
        link = second.stage_link(original)
        assert link is not None
        fail_next(disk, errno.EIO, behind=1)

        assert set(sync.files([original, link, other])) == {original, link, other}


def test_data_syncs_files_and_no_directories(disk):
    maildirs = opened(disk, Durability.DATA)
    with maildirs[0].begin_round() as sync:
        disk.log.clear()
        sync.files(written(maildirs))

        sync.directories(maildirs)

    assert syncs(disk) == ["sync_file_system", "sync"]


def test_none_syncs_nothing(disk):
    maildirs = opened(disk, Durability.NONE)
    with maildirs[0].begin_round() as sync:
        disk.log.clear()

        assert sync.files(written(maildirs)) == {}

    assert syncs(disk) == []


def test_without_a_descriptor_every_file_is_synced(disk):
    maildirs = opened(disk)
    fail_next(disk, errno.EMFILE)
    with maildirs[0].begin_round() as sync:
        disk.log.clear()

        assert sync.files(written(maildirs)) == {}

    assert syncs(disk) == ["sync"] * 3


# ---- a neighbour who writes much --------------------------------------------------------------------


@pytest.mark.parametrize("took_s, is_slow", [(SLOW_S, False), (SLOW_S + 0.001, True)])
def test_a_slow_sync_is_not_repeated_for_a_while(took_s, is_slow):
    now = [100.0]
    pace = SyncPace(lambda: now[0])

    def sync():
        now[0] += took_s

    pace.time(1, sync)

    assert pace.allows(1) is not is_slow
    assert pace.allows(2)
    now[0] += PAUSE_S
    assert pace.allows(1)


class Compared:
    """A message, or a Maildir, that counts how often it is compared with another."""

    device, is_linked, syncs_directory = 1, False, True
    comparisons = 0

    def __eq__(self, other: object) -> bool:
        Compared.comparisons += 1
        return self is other

    __hash__ = object.__hash__

    def close(self) -> None:
        """Nothing to close."""

    def sync(self) -> None:
        """Nothing to sync."""

    def synced(self) -> None:
        """Nothing to note."""


def test_a_large_round_takes_as_much_longer_as_it_is_larger(disk):
    """A thousand recipients in each of several messages kept the interpreter for seconds."""
    with opened(disk)[0].begin_round() as sync:
        sync._device = Compared.device
        many = [Compared() for _ in range(500)]

        assert sync.files(many) == {}
        assert sync.directories(many) == {}

    assert Compared.comparisons < 2 * len(many)
