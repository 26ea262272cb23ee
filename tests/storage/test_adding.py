"""A group of messages on its way into a folder."""

import errno
import os

import pytest

from storage.adding import Adding, Place
from storage.directory import Directory
from storage.disk import Disk
from storage.dotlock import Locked
from storage.errors import DiskFull, StorageError
from storage.names import NameSource
from tests.support.maildirs import wire_octets
from tests.support.scripting import new_maildir, tree


class NotedDisk(Disk):
    """The disk, with a note of what was done, and a fault where the test wants one."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.failing = ""
        self.left = 0

    def _note(self, call: str) -> None:
        self.calls.append(call)
        if call == self.failing:
            self.left -= 1
            if self.left < 0:
                raise OSError(errno.ENOSPC, "No space left")

    def create(self, name: str, *, dir_fd: int | None = None) -> int:
        self._note("create")
        return super().create(name, dir_fd=dir_fd)

    def write(self, fd: int, data: bytes | memoryview) -> int:
        self._note("write")
        return super().write(fd, data)

    def sync(self, fd: int) -> None:
        self._note("sync")
        super().sync(fd)

    def rename_exclusive(self, name: str, new_name: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        self._note("rename")
        super().rename_exclusive(name, new_name, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)


@pytest.fixture
def maildir(tmp_path):
    return new_maildir(tmp_path / "box")


@pytest.fixture
def disk():
    return NotedDisk()


@pytest.fixture
def folder(maildir, disk):
    return Directory(disk, disk.open_directory(str(maildir)))


@pytest.fixture
def names():
    return NameSource("host.example", "abcdef")


def test_a_message_has_its_place_flags_date_and_sizes(folder, names, maildir):
    pieces = [b"a\n\r", b"\n", b"", b"\nb\r", b"\r\n"]
    with Adding(folder, names) as adding:
        adding.stage(pieces, Place("cur", "SFaS", 5_000_000_001))
        adding.stage([b"new"], Place("new", "", 7_000_000_000))
        assert (len(adding), adding.octets) == (2, 12)
        cur, new = adding.publish()

    whole = b"".join(pieces)
    assert cur.endswith(f".host.example,S=9,W={wire_octets(whole)}:2,FSa")
    assert (maildir / "cur" / cur).read_bytes() == whole
    assert (maildir / "cur" / cur).stat().st_mtime_ns == 5_000_000_001
    assert (maildir / "new" / new).stat().st_mtime_ns == 7_000_000_000
    assert os.listdir(maildir / "tmp") == []


def test_all_are_synced_before_one_shows(folder, names, disk):
    with Adding(folder, names) as adding:
        for _ in range(20):
            adding.stage([b"x"], Place("cur", "", 0))
        disk.calls.clear()
        adding.publish()

    assert disk.calls == ["sync"] * 20 + ["rename"] * 20 + ["sync"] * 2


def test_nothing_is_nothing(folder, names):
    with Adding(folder, names) as adding:
        assert adding.publish() == []


def test_what_is_not_published_is_discarded(folder, names, maildir):
    before = tree(maildir)

    with Adding(folder, names) as adding:
        adding.stage([b"x"], Place("cur", "", 0))

    assert tree(maildir) == before


@pytest.mark.parametrize("left", [0, 1])
@pytest.mark.parametrize("call", ["create", "write", "sync"])
def test_a_full_disk_leaves_nothing(folder, names, disk, maildir, call, left):
    before = tree(maildir)
    disk.failing, disk.left = call, left

    with pytest.raises(DiskFull), Adding(folder, names) as adding:
        adding.stage([b"x"], Place("cur", "", 0))
        adding.stage([b"y"], Place("new", "", 0))
        adding.publish()

    assert tree(maildir) == before


def test_an_error_amid_the_renames_leaves_whole_messages(folder, names, disk, maildir):
    disk.failing, disk.left = "rename", 1

    with pytest.raises(StorageError), Adding(folder, names) as adding:
        for _ in range(3):
            adding.stage([b"x"], Place("cur", "", 0))
        adding.publish()

    assert len(os.listdir(maildir / "cur")) == 1
    assert os.listdir(maildir / "tmp") == []


def test_dovecots_lock_is_held_while_they_show(folder, names, disk, maildir, monkeypatch):
    (maildir / "dovecot-uidlist").write_text("3 V1 N1\n")
    held: list[bool] = []
    rename = disk.rename_exclusive

    def noted(*names, **fds):
        held.append((maildir / "dovecot-uidlist.lock").exists())
        rename(*names, **fds)

    monkeypatch.setattr(disk, "rename_exclusive", noted)

    with Adding(folder, names) as adding:
        adding.stage([b"x"], Place("cur", "", 0))
        adding.publish()

    assert held == [True]
    assert not (maildir / "dovecot-uidlist.lock").exists()


def test_a_lock_that_is_held_for_ever_stops_it(folder, names, maildir, monkeypatch):
    monkeypatch.setattr("storage.uidlist.dotlock", _impatient)
    (maildir / "dovecot-uidlist").write_text("3 V1 N1\n")
    (maildir / "dovecot-uidlist.lock").write_text("1:elsewhere")
    before = tree(maildir)

    with pytest.raises(Locked), Adding(folder, names) as adding:
        adding.stage([b"x"], Place("cur", "", 0))
        adding.publish()

    assert tree(maildir) == before


def _impatient(folder, name, *, wait_s):
    raise Locked("held")
