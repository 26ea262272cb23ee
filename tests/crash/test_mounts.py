"""A cut loses what was not synced, and only that, on every file system used here."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.mounts import FILE_SYSTEMS, Mounted, mounted
from tests.crash.shim import Flush
from tests.support.requirements import ROOT

pytestmark = pytest.mark.crash


@pytest.fixture(params=FILE_SYSTEMS)
def disk(request) -> Iterator[Mounted]:
    with mounted(request.param) as (disk,):
        yield disk


def write(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    sync(path)


def sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def maildir(disk: Mounted) -> Path:
    for part in ("tmp", "new"):
        (disk.path / part).mkdir()
    sync(disk.path)
    return disk.path


def contents(disk: Mounted) -> dict[str, bytes]:
    return {f"{path.parent.name}/{path.name}": path.read_bytes() for path in disk.path.glob("[nt]*/*")}


def test_message_that_was_never_synced_is_gone(disk):
    (maildir(disk) / "tmp" / "1").write_bytes(b"hello")

    disk.cut()
    disk.power_up()

    assert contents(disk) == {}


def test_rename_without_a_directory_sync_is_undone(disk):
    folder = maildir(disk)
    write(folder / "tmp" / "1", b"hello")
    (folder / "tmp" / "1").rename(folder / "new" / "1")

    disk.cut()
    disk.power_up()

    assert contents(disk) == {"tmp/1": b"hello"}


def test_directory_sync_without_a_file_sync_keeps_an_empty_name(disk):
    folder = maildir(disk)
    (folder / "tmp" / "1").write_bytes(b"hello")
    (folder / "tmp" / "1").rename(folder / "new" / "1")
    sync(folder / "new")

    disk.cut()
    disk.power_up()

    assert contents(disk) == {"new/1": b""}


def test_what_was_synced_in_order_stays(disk):
    folder = maildir(disk)
    write(folder / "tmp" / "1", b"hello")
    (folder / "tmp" / "1").rename(folder / "new" / "1")
    sync(folder / "new")

    disk.cut()
    disk.power_up()

    assert contents(disk) == {"new/1": b"hello"}


def test_journal_that_is_still_flushed_keeps_the_rename(disk):
    folder = maildir(disk)
    write(folder / "tmp" / "1", b"hello")
    (folder / "tmp" / "1").rename(folder / "new" / "1")

    disk.cut(Flush.JOURNAL)
    disk.power_up()

    assert contents(disk) == {"new/1": b"hello"}


def test_nothing_can_be_written_after_a_cut(disk):
    disk.cut()

    with pytest.raises(OSError):
        (disk.path / "late").write_bytes(b"x")
    disk.cut()  # a second one is no error


def test_file_system_serves_again_after_many_cuts(disk):
    for number in range(5):
        write(disk.path / str(number), b"x")
        sync(disk.path)
        disk.cut()
        disk.power_up()

    assert len([path for path in disk.path.iterdir() if path.name.isdigit()]) == 5


def test_file_systems_are_cut_separately():
    with mounted("ext4", "ext4") as (first, second):
        (second.path / "late").touch()

        first.cut()
        sync(second.path)
        first.power_up()
        second.cut()
        second.power_up()

        assert (second.path / "late").exists()


def test_nothing_stays_mounted_when_a_test_fails():
    paths = []

    with pytest.raises(ZeroDivisionError), mounted("ext4") as (disk,):
        paths.append(disk.path)
        with (disk.path / "open").open("w"):
            raise ZeroDivisionError

    assert not paths[0].exists()
    assert str(paths[0]) not in Path("/proc/self/mounts").read_text()


def test_what_a_killed_test_left_is_removed_by_the_next():
    program = (
        "import os, signal\n"
        "from tests.crash.mounts import mounted\n"
        "with mounted('ext4') as (disk,):\n"
        "    print(disk.path, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    with mounted("ext4"):
        pass  # proves that mounting is allowed
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    left = Path(done.stdout.strip())
    assert left.is_dir(), done.stderr

    with mounted("ext4"):
        assert not left.exists()

    assert str(left) not in Path("/proc/self/mounts").read_text()
