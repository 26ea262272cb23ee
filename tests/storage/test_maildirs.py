"""Maildirs are made, repaired, and held open between deliveries."""

import errno
import gc
import os
from threading import Barrier, Thread

import pytest

from storage.disk import Disk
from storage.errors import MailboxMissing, OutOfDescriptors, StorageError
from storage.maildir import Durability, MaildirPath
from storage.maildirs import CAPACITY, Maildirs
from storage.names import NameSource
from tests.support.memory_disk import MemoryDisk
from tests.support.storing import PATH, ROOT, USER, deliver, maildirs_on

NEW = f"{PATH}/new"
MARKER = "maildirfolder"
DEADLINE_S = 10


@pytest.fixture
def disk():
    disk = MemoryDisk()
    disk.make(ROOT)
    return disk


@pytest.fixture
def maildirs(disk):
    return maildirs_on(disk)


def user(number):
    return MaildirPath(ROOT, (f"u{number}",))


def opened(disk):
    """Return the paths of the Maildirs whose handles are open."""
    gc.collect()  # a traceback that pytest keeps may hold one
    return [path.removesuffix("/new") for path in disk.open_handles() if path.endswith("/new")]


# -- missing, made, repaired


def test_a_missing_maildir_is_missing(maildirs):
    with pytest.raises(MailboxMissing):
        maildirs.open(USER, create=False)


def test_a_missing_maildir_is_made_if_it_may_be(disk, maildirs):
    deliver(maildirs, b"hello", create=True)

    assert list(disk.files(NEW).values()) == [b"hello"]


def test_a_maildir_that_lacks_parts_is_repaired_in_any_case(disk, maildirs):
    disk.make(PATH)

    deliver(maildirs, b"hello", create=False)

    assert list(disk.files(NEW).values()) == [b"hello"]


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ENOSPC])
def test_what_hinders_opening_is_named_and_nothing_stays_open(disk, maildirs, number):
    disk.fail(3, OSError(number, "injected"))

    with pytest.raises(StorageError, match="injected"):
        maildirs.open(USER, create=True)

    gc.collect()
    assert disk.open_handles() == []


@pytest.mark.parametrize("durable", [Durability.DATA, Durability.NONE])
def test_directories_are_synced_only_if_all_is_to_be_durable(disk, durable):
    maildirs_on(disk, durable=durable).open(USER, create=True)

    assert "sync" not in [call for call, _ in disk.log]


# -- held open


def test_a_second_use_costs_one_look(disk, maildirs):
    first = maildirs.open(USER, create=True)
    disk.log.clear()

    second = maildirs.open(USER, create=False)

    assert second is first
    assert disk.log == [("status", NEW)]


def test_two_names_are_two_maildirs(maildirs):
    assert maildirs.open(user(1), create=True) is not maildirs.open(user(2), create=True)


def test_the_same_directory_by_another_division_of_its_path_is_held_by_itself(maildirs):
    first = maildirs.open(USER, create=True)

    assert maildirs.open(MaildirPath(PATH, ()), create=False) is not first


@pytest.mark.parametrize("count, held", [(2, [1, 2]), (3, [1, 2, 3]), (4, [2, 3, 4])])
def test_the_least_recently_used_is_closed_when_there_are_too_many(disk, count, held):
    maildirs = maildirs_on(disk, capacity=3)

    for number in range(1, count + 1):
        maildirs.open(user(number), create=True)

    assert opened(disk) == [f"{ROOT}/u{number}" for number in held]


def test_one_that_was_used_again_stays(disk):
    maildirs = maildirs_on(disk, capacity=2)

    for number in (1, 2, 1, 3):
        maildirs.open(user(number), create=True)

    assert opened(disk) == [f"{ROOT}/u1", f"{ROOT}/u3"]


def test_hundreds_are_held_by_default():
    assert CAPACITY == 512


def test_one_that_is_in_use_is_not_closed(disk):
    maildirs = maildirs_on(disk, capacity=1)
    with maildirs.open(user(1), create=True).stage() as staged:
        maildirs.open(user(2), create=True)
        assert opened(disk) == [f"{ROOT}/u1", f"{ROOT}/u2"]
        staged.write(b"hello")
        staged.sync()
        staged.publish("final")
    del staged

    assert opened(disk) == [f"{ROOT}/u2"]
    assert disk.files(f"{ROOT}/u1/new") == {"final": b"hello"}


def test_closing_lets_go_of_all_that_is_not_in_use(disk, maildirs):
    kept = maildirs.open(user(1), create=True)
    maildirs.open(user(2), create=True)

    maildirs.close()

    assert opened(disk) == [f"{ROOT}/u1"]
    assert maildirs.open(user(1), create=False) is not kept


# -- descriptors


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
def test_what_is_held_open_does_not_use_up_the_descriptors(disk, maildirs, number):
    for count in range(3):
        maildirs.open(user(count), create=True)
    disk.fail(len(disk.log) + 2, OSError(number, "injected"))

    maildirs.open(USER, create=True)

    assert opened(disk) == [PATH]


def test_without_descriptors_in_spite_of_it_there_is_an_error(disk, maildirs):
    disk.fail(1, OSError(errno.EMFILE, "injected"), for_ever=True)

    with pytest.raises(OutOfDescriptors):
        maildirs.open(USER, create=True)


def test_a_maildir_that_runs_out_of_descriptors_frees_those_held(disk, maildirs):
    for count in range(3):
        maildirs.open(user(count), create=True)
    disk.fail(len(disk.log) + 2, OSError(errno.EMFILE, "injected"))

    with pytest.raises(OutOfDescriptors):
        maildirs.open(user(0), create=False).stage()

    assert opened(disk) == []


def test_descriptors_return_to_what_they_were(tmp_path):
    def count():
        return len(os.listdir("/proc/self/fd"))

    gc.collect()
    before = count()
    maildirs = maildirs_on(Disk(), capacity=5)

    for number in range(50):
        deliver(maildirs, b"hello", where=MaildirPath(str(tmp_path), (str(number % 20),)))
    assert count() == before + 2 * 5
    maildirs.close()

    assert count() == before


# -- marked folders


def test_a_marker_is_made_on_demand(disk, maildirs):
    maildirs.open(USER, create=True, marker=True)

    assert disk.files(PATH) == {MARKER: b""}


def test_no_marker_is_made_without_demand(disk, maildirs):
    maildirs.open(USER, create=True)

    assert disk.files(PATH) == {}


def test_a_maildir_that_is_held_gets_its_marker_too(disk, maildirs):
    maildirs.open(USER, create=True)

    marked = maildirs.open(USER, create=False, marker=True)

    assert disk.files(PATH) == {MARKER: b""}
    assert maildirs.open(USER, create=False) is marked


def test_a_marker_is_durable_with_its_folder(disk, maildirs):
    maildirs.open(USER, create=True, marker=True)

    disk.restart()

    assert disk.files(PATH) == {MARKER: b""}


# -- leftovers


def test_what_dead_processes_left_is_removed_at_an_opening(disk):
    disk.make(f"{PATH}/tmp")
    disk.put(f"{PATH}/tmp/1760000000.M1P2Q3Raa.mx")
    disk.put(f"{PATH}/tmp/1760000000.M1P2Q3Rbb.mx")

    maildirs_on(disk, dead=frozenset({"aa"})).open(USER, create=False)

    assert list(disk.files(f"{PATH}/tmp")) == ["1760000000.M1P2Q3Rbb.mx"]


def test_nobody_is_dead_unless_somebody_says_so(disk):
    disk.make(f"{PATH}/tmp")
    disk.put(f"{PATH}/tmp/1760000000.M1P2Q3Raa.mx")

    Maildirs(disk, NameSource("mx", "bb")).open(USER, create=False)

    assert list(disk.files(f"{PATH}/tmp")) == ["1760000000.M1P2Q3Raa.mx"]


# -- threads


def test_threads_that_open_it_at_once_get_the_same(disk, maildirs):
    maildirs.open(USER, create=True)
    maildirs.close()
    together = Barrier(8)
    got = []

    def meet(call, where):
        # All are on their way before the first arrives.
        if (call, where) == ("open_directory", ROOT):
            together.wait(DEADLINE_S)

    disk.on_call = meet
    threads = [Thread(target=lambda: got.append(maildirs.open(USER, create=False))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)

    assert len(got) == 8
    assert len(set(map(id, got))) == 1


def test_threads_deliver_to_many_maildirs_through_a_small_cache(tmp_path):
    maildirs = maildirs_on(Disk(), capacity=2, durable=Durability.NONE)
    start = Barrier(8)

    def deliver_all(number):
        start.wait(DEADLINE_S)
        for count in range(30):
            where = MaildirPath(str(tmp_path), (str(count % 5),))
            deliver(maildirs, f"{number} {count}".encode(), where=where)

    threads = [Thread(target=deliver_all, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    delivered = [path.read_text() for path in tmp_path.glob("*/new/*")]
    assert sorted(delivered) == sorted(f"{number} {count}" for number in range(8) for count in range(30))
    assert not list(tmp_path.glob("*/tmp/*"))
