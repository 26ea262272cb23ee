import errno
import os

import pytest

from storage.directory import make_path, open_root
from storage.disk import Disk
from tests.support.memory_disk import MemoryDisk


@pytest.fixture
def disk():
    disk = MemoryDisk()
    disk.make("/r/d")
    return disk


@pytest.fixture
def root(disk):
    return open_root(disk, "/r")


class Unreadable(MemoryDisk):
    """A disk whose directories may be passed, but not read."""

    def open_directory(self, name: str, *, dir_fd: int | None = None, follow: bool = False) -> int:
        super().close(super().open_directory(name, dir_fd=dir_fd, follow=follow))
        raise OSError(errno.EACCES, "no")


def test_a_directory_is_closed_when_nobody_needs_it(disk, root):
    entered = root.enter("d")
    assert disk.open_handles() == ["/r", "/r/d"]

    del entered

    assert disk.open_handles() == ["/r"]


def test_closing_one_that_is_gone_harms_nobody(disk, root):
    disk.close(root.fd)

    del root

    assert disk.open_handles() == []


def test_a_missing_directory_can_be_made(disk, root):
    root.make("new")

    assert root.changed
    assert root.enter("new").changed is False
    assert ("make_directory", "/r/new") in disk.log


def test_one_that_somebody_else_made_first_counts_as_made(root):
    root.make("d")

    assert root.changed


def test_what_cannot_be_made_is_an_error(disk, root):
    disk.fail(len(disk.log) + 1, OSError(errno.ENOSPC, "full"))

    with pytest.raises(OSError, match="full"):
        root.make("new")

    assert not root.changed


def test_an_empty_file_is_put_once(disk, root):
    root.put_empty_file("f")
    assert root.changed
    root.changed = False

    root.put_empty_file("f")

    assert not root.changed
    assert disk.files("/r") == {"f": b""}
    assert disk.open_handles() == ["/r"]


def test_syncing_makes_entries_durable(disk, root):
    root.make("new")

    root.sync()
    disk.restart()

    assert disk.status("/r/new")


def test_a_directory_can_be_passed_without_reading_it(disk):
    disk = Unreadable()
    disk.make("/r/d")

    root = open_root(disk, "/r")
    below = root.pass_through("d")

    assert (root.can_sync, below.can_sync) == (False, False)
    with pytest.raises(PermissionError):
        root.enter("d")


def test_a_directory_that_can_be_read_can_be_synced(root):
    assert root.can_sync
    assert root.pass_through("d").can_sync


def test_only_the_root_may_be_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")

    root = open_root(Disk(), str(tmp_path / "link"))

    assert os.path.samestat(os.fstat(root.fd), (tmp_path / "real").stat())
    above = open_root(Disk(), str(tmp_path))
    for enter in (above.enter, above.pass_through):
        with pytest.raises(NotADirectoryError):
            enter("link")


def test_a_missing_root_is_said_to_be_missing(tmp_path):
    with pytest.raises(FileNotFoundError):
        open_root(Disk(), str(tmp_path / "none"))


def test_a_path_is_made_and_each_new_entry_is_synced(tmp_path):
    synced = []

    class Watched(Disk):
        def sync(self, fd: int) -> None:
            synced.append(os.readlink(f"/proc/self/fd/{fd}"))
            super().sync(fd)

    made = make_path(Watched(), str(tmp_path / "a/b"))

    assert made == [str(tmp_path / "a"), str(tmp_path / "a/b")]
    assert synced == [str(tmp_path), str(tmp_path / "a")]
    assert make_path(Watched(), str(tmp_path / "a/b")) == []
