"""What the fake disk forgets, and how it fails."""

import errno

import pytest

from tests.support.memory_disk import MemoryDisk
from tests.support.memory_faults import PowerCut


@pytest.fixture
def disk():
    disk = MemoryDisk()
    disk.make("/m/tmp")
    disk.make("/m/new")
    return disk


def written(disk, path="/m/tmp/a", data=b"hello"):
    fd = disk.create(path)
    disk.write(fd, data)
    return fd


def sync_directory(disk, path):
    disk.sync(disk.open_directory(path))


def test_without_any_sync_nothing_is_left(disk):
    written(disk)

    disk.restart()

    assert disk.files("/m/tmp") == {}


def test_a_file_without_its_directory_is_lost(disk):
    disk.sync(written(disk))

    disk.restart()

    assert disk.files("/m/tmp") == {}


def test_a_directory_without_its_file_is_an_empty_file(disk):
    written(disk)
    sync_directory(disk, "/m/tmp")

    disk.restart()

    assert disk.files("/m/tmp") == {"a": b""}


def test_only_what_was_written_before_the_sync_is_left(disk):
    fd = written(disk)
    disk.sync(fd)
    disk.write(fd, b" world")
    sync_directory(disk, "/m/tmp")

    disk.restart()

    assert disk.files("/m/tmp") == {"a": b"hello"}


@pytest.mark.parametrize(
    "names_kept, data_kept, left",
    [(True, False, {"a": b""}), (False, True, {}), (True, True, {"a": b"hello"})],
)
def test_what_was_not_synced_may_be_there_all_the_same(disk, names_kept, data_kept, left):
    written(disk)

    disk.restart(names_kept=names_kept, data_kept=data_kept)

    assert disk.files("/m/tmp") == left


def renamed(disk):
    disk.sync(written(disk))
    sync_directory(disk, "/m/tmp")
    tmp, new = disk.open_directory("/m/tmp"), disk.open_directory("/m/new")
    disk.rename_exclusive("a", "b", src_dir_fd=tmp, dst_dir_fd=new)
    return tmp, new


@pytest.mark.parametrize(
    "synced, in_tmp, in_new",
    [
        ((), {"a": b"hello"}, {}),
        ((1,), {"a": b"hello"}, {"b": b"hello"}),
        ((0, 1), {}, {"b": b"hello"}),
    ],
    ids=["none", "new", "both"],
)
def test_a_rename_is_durable_in_each_directory_by_itself(disk, synced, in_tmp, in_new):
    fds = renamed(disk)
    for which in synced:
        disk.sync(fds[which])

    disk.restart()

    assert (disk.files("/m/tmp"), disk.files("/m/new")) == (in_tmp, in_new)


def test_a_removal_is_durable_with_its_directory(disk):
    disk.put("/m/tmp/a", b"x")
    disk.unlink("/m/tmp/a")
    disk.restart()
    assert disk.files("/m/tmp") == {"a": b"x"}

    disk.unlink("/m/tmp/a")
    sync_directory(disk, "/m/tmp")
    disk.restart()
    assert disk.files("/m/tmp") == {}


def test_a_chain_of_directories_is_as_durable_as_its_weakest(disk):
    for path in ("/m/u", "/m/u/new"):
        disk.make_directory(path, 0o700)
    disk.sync(written(disk, "/m/u/new/a"))
    sync_directory(disk, "/m/u/new")
    sync_directory(disk, "/m/u")

    disk.restart()

    with pytest.raises(FileNotFoundError):
        disk.status("/m/u")


def test_what_was_left_is_durable_from_then_on(disk):
    written(disk)
    disk.restart(names_kept=True, data_kept=True)

    disk.restart()

    assert disk.files("/m/tmp") == {"a": b"hello"}


def test_data_of_a_failed_sync_is_lost_though_the_next_says_done(disk):
    fd = written(disk)
    sync_directory(disk, "/m/tmp")
    disk.fail(len(disk.log) + 1, OSError(errno.EIO, "broken"))
    with pytest.raises(OSError, match="broken"):
        disk.sync(fd)

    disk.sync(fd)
    disk.restart()

    assert disk.files("/m/tmp") == {"a": b""}


def test_a_killed_process_loses_its_descriptors_only(disk):
    fd = written(disk)

    disk.kill_process()

    assert disk.files("/m/tmp") == {"a": b"hello"}
    with pytest.raises(OSError, match="Bad file"):
        disk.sync(fd)
    disk.restart()
    assert disk.files("/m/tmp") == {}


# -- faults


def test_the_nth_call_fails_and_does_nothing(disk):
    disk.fail(2, OSError(errno.ENOSPC, "full"))
    fd = disk.create("/m/tmp/a")

    with pytest.raises(OSError, match="full"):
        disk.write(fd, b"x")
    disk.write(fd, b"y")

    assert disk.files("/m/tmp") == {"a": b"y"}


def test_the_nth_call_fails_though_it_was_done(disk):
    disk.fail(1, OSError(errno.EIO, "lost"), after_effect=True)

    with pytest.raises(OSError, match="lost"):
        disk.create("/m/tmp/a")

    assert disk.files("/m/tmp") == {"a": b""}


def test_all_calls_from_the_nth_on_fail(disk):
    disk.fail(2, OSError(errno.EIO, "broken"), for_ever=True)
    disk.status("/m")

    for _ in range(3):
        with pytest.raises(OSError, match="broken"):
            disk.status("/m")


def test_a_close_that_fails_closes(disk):
    fd = disk.create("/m/tmp/a")
    disk.fail(2, OSError(errno.EIO, "late"))

    with pytest.raises(OSError, match="late"):
        disk.close(fd)

    assert disk.open_handles() == []


def test_without_power_nothing_goes(disk):
    fd, folder = disk.create("/m/tmp/a"), disk.open_directory("/m")
    disk.fail(3, PowerCut())

    with pytest.raises(PowerCut):
        disk.write(fd, b"x")
    for call in (disk.status, disk.unlink, disk.create):
        with pytest.raises(PowerCut):
            call("/m/tmp/a")
    with pytest.raises(PowerCut):
        disk.close(fd)
    disk.close(folder)

    disk.restart()
    assert disk.status("/m")
    assert disk.log == [("status", "/m")]


def test_the_log_tells_what_was_called_where(disk):
    renamed(disk)

    assert disk.log == [
        ("create", "/m/tmp/a"),
        ("write", "/m/tmp/a"),
        ("sync", "/m/tmp/a"),
        ("open_directory", "/m/tmp"),
        ("sync", "/m/tmp"),
        ("open_directory", "/m/tmp"),
        ("open_directory", "/m/new"),
        ("rename_exclusive", "/m/new/b"),
    ]


def test_a_call_can_be_watched_while_it_begins(disk):
    seen: list[tuple[str, str]] = []
    disk.on_call = lambda call, where: seen.append((call, where))

    disk.create("/m/tmp/a")

    assert seen == [("create", "/m/tmp/a")]


def test_writes_can_be_short(disk):
    disk.largest_write = 2
    fd = disk.create("/m/tmp/a")

    assert [disk.write(fd, b"hello"), disk.write(fd, b"x")] == [2, 1]


def test_there_is_nothing_in_a_directory_that_is_missing(disk):
    assert disk.files("/none") == {}


def test_the_clock_sets_the_time_of_the_last_change():
    now = [5_000_000_000]
    disk = MemoryDisk(clock=lambda: now[0])
    disk.make("/m")
    now[0] = 7_500_000_000

    disk.create("/m/a")

    status = disk.status("/m")
    assert (status.st_ctime, status.st_ctime_ns) == (7.5, 7_500_000_000)
