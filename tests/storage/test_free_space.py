"""How much room is left."""

import os

import pytest

from storage.disk import Disk
from storage.free_space import FRESH_S, REMEMBERED, FreeSpace
from tests.support.clocks import Clock

# f_bsize f_frsize f_blocks f_bfree f_bavail f_files f_ffree f_favail f_flag f_namemax
HALF_FULL = (4096, 1024, 1000, 600, 500, 100, 50, 40, 0, 255)


class SmallDisk(Disk):
    def __init__(self, *values: int) -> None:
        self.asked = 0
        self.values = values or HALF_FULL

    def file_system(self, path: str) -> os.statvfs_result:
        self.asked += 1
        return os.statvfs_result(self.values)


def test_the_real_disk_says_what_the_system_does(tmp_path):
    free = FreeSpace(Disk()).of("x", str(tmp_path))

    status = os.statvfs(tmp_path)
    assert abs(free.octets - status.f_bavail * status.f_frsize) < 100 << 20
    assert 0 <= free.percent <= 100


def test_only_what_is_left_for_us_counts():
    free = FreeSpace(SmallDisk()).of(1, "/")

    assert (free.octets, free.percent, free.inodes) == (500 * 1024, 50.0, 40)


def test_a_file_system_without_inodes_has_none_to_run_out_of():
    free = FreeSpace(SmallDisk(4096, 4096, 0, 0, 0, 0, 0, 0, 0, 255)).of(1, "/")

    assert (free.percent, free.inodes) == (100.0, None)


@pytest.mark.parametrize("later_s, asked", [(FRESH_S / 2, 1), (FRESH_S, 2)])
def test_the_system_is_asked_once_in_a_while(later_s, asked):
    disk, clock = SmallDisk(), Clock()
    space = FreeSpace(disk, clock)

    for _ in range(10):
        space.of(1, "/")
    clock.now += later_s
    space.of(1, "/")

    assert disk.asked == asked


def test_each_file_system_is_asked_for_itself():
    disk = SmallDisk()
    space = FreeSpace(disk, Clock())

    for key in (1, 2, "/srv"):
        space.of(key, "/")

    assert disk.asked == 3


def test_what_is_remembered_is_bounded():
    space = FreeSpace(SmallDisk(), Clock())

    for key in range(REMEMBERED + 1):
        space.of(key, "/")

    assert len(space._known) == 1


def test_an_error_is_the_callers(tmp_path):
    with pytest.raises(FileNotFoundError):
        FreeSpace(Disk()).of(1, str(tmp_path / "missing"))
