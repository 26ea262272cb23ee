"""What changes in a directory."""

import errno
import os
import select

import pytest

from storage import watch as watch_module
from storage.watch import DirectoryWatch

WAIT_S = 10.0


def taken(watch: DirectoryWatch, *expected: str) -> set[str]:
    """Take until the expected names are among what was taken."""
    names: set[str] = set()
    while not names.issuperset(expected):
        assert select.select([watch], [], [], WAIT_S)[0], f"no notice; so far {names}"
        names |= watch.take()
    return names


def test_a_new_file_is_noticed(tmp_path):
    with DirectoryWatch(tmp_path) as watch:
        (tmp_path / "new").write_text("x")

        assert taken(watch, "new") <= {"new", ""}


def test_a_file_that_is_written_to_is_noticed(tmp_path):
    (tmp_path / "old").write_text("x")
    with DirectoryWatch(tmp_path) as watch:
        with (tmp_path / "old").open("a") as file:
            file.write("y")

        taken(watch, "old")


def test_both_names_of_a_renamed_file_are_noticed(tmp_path):
    (tmp_path / "before").write_text("x")
    with DirectoryWatch(tmp_path) as watch:
        (tmp_path / "before").rename(tmp_path / "after")

        taken(watch, "before", "after")


def test_a_file_that_comes_from_elsewhere_is_noticed(tmp_path):
    (tmp_path / "new").mkdir()
    (tmp_path / "tmp").mkdir()
    (tmp_path / "tmp" / "mail").write_text("x")
    with DirectoryWatch(tmp_path / "new") as watch:
        (tmp_path / "tmp" / "mail").rename(tmp_path / "new" / "mail")

        taken(watch, "mail")


def test_a_removed_file_is_noticed(tmp_path):
    (tmp_path / "old").write_text("x")
    with DirectoryWatch(tmp_path) as watch:
        (tmp_path / "old").unlink()

        taken(watch, "old")


def test_reading_and_what_happens_below_are_not(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    with DirectoryWatch(tmp_path) as watch:
        (tmp_path / "file").read_text()
        os.listdir(tmp_path)
        (tmp_path / "folder" / "deep").write_text("x")
        (tmp_path / "last").write_text("x")

        # Notices come in order: whatever the first lines caused would be here by now.
        assert taken(watch, "last") <= {"last", "folder", ""}


def test_nothing_to_take_is_nothing(tmp_path):
    with DirectoryWatch(tmp_path) as watch:
        assert not select.select([watch], [], [], 0)[0]
        assert watch.take() == frozenset()


def test_what_was_taken_is_gone(tmp_path):
    with DirectoryWatch(tmp_path) as watch:
        (tmp_path / "one").write_text("x")
        taken(watch, "one")
        watch.take()
        (tmp_path / "two").mkdir()

        taken(watch, "two")


def test_the_directory_itself_has_no_name(tmp_path):
    with DirectoryWatch(tmp_path) as watch:
        tmp_path.chmod(0o755)
        (tmp_path / "file").write_text("x")

        assert taken(watch, "file") - {"file"} <= {""}


def test_a_directory_that_is_not_there_is_an_error(tmp_path):
    before = len(os.listdir("/proc/self/fd"))

    with pytest.raises(FileNotFoundError):
        DirectoryWatch(tmp_path / "missing")

    assert len(os.listdir("/proc/self/fd")) == before


def test_a_watch_that_the_kernel_refuses_is_an_error(tmp_path, monkeypatch):
    class Refusing:
        def schedule(self, *_, **__):
            raise OSError(errno.ENOSPC, "inotify watch limit reached")

    monkeypatch.setattr(watch_module, "Observer", Refusing)

    with pytest.raises(OSError, match="limit"):
        DirectoryWatch(tmp_path)


def test_nothing_is_left_open(tmp_path):
    before = len(os.listdir("/proc/self/fd"))

    for _ in range(3):
        with DirectoryWatch(tmp_path):
            pass

    assert len(os.listdir("/proc/self/fd")) == before
