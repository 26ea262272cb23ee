"""A rename replaces nothing, in whichever way it is done."""

import ctypes
import errno
import os

import pytest

from storage import disk as disk_module
from storage.disk import Disk

DISK = Disk()


@pytest.fixture
def folder(tmp_path):
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def failing(number):
    """A renameat2 that fails."""

    def renameat2(*args: object) -> int:
        ctypes.set_errno(number)
        return -1

    return renameat2


RENAMES = [None, errno.ENOSYS, errno.EINVAL, "missing"]


@pytest.fixture(params=RENAMES, ids=["renameat2", "ENOSYS", "EINVAL", "no function"])
def rename(request, monkeypatch):
    """Every way in which a rename can be done."""
    if request.param == "missing":
        monkeypatch.setattr(disk_module, "_renameat2", None)
    elif request.param is not None:
        monkeypatch.setattr(disk_module, "_renameat2", failing(request.param))
    return DISK.rename_exclusive


def test_a_rename_moves_a_file(tmp_path, rename):
    tmp, new = tmp_path / "tmp", tmp_path / "new"
    fds = []
    for path in (tmp, new):
        path.mkdir()
        fds.append(os.open(path, os.O_RDONLY))
    (tmp / "a").write_bytes(b"x")

    rename("a", "bé", src_dir_fd=fds[0], dst_dir_fd=fds[1])

    assert (new / "bé").read_bytes() == b"x"
    assert not list(tmp.iterdir())
    for fd in fds:
        os.close(fd)


@pytest.mark.parametrize("plant", ["file", "directory", "link", "dangling link", "fifo"])
def test_a_rename_replaces_nothing(tmp_path, folder, rename, plant):
    (tmp_path / "a").write_bytes(b"new")
    planted(tmp_path, plant)
    before = (tmp_path / "x").lstat()

    with pytest.raises(FileExistsError):
        rename("a", "x", src_dir_fd=folder, dst_dir_fd=folder)

    assert os.path.samestat((tmp_path / "x").lstat(), before)
    assert (tmp_path / "a").read_bytes() == b"new"


def test_a_rename_of_nothing_says_so(folder, rename):
    with pytest.raises(FileNotFoundError):
        rename("a", "b", src_dir_fd=folder, dst_dir_fd=folder)


def test_a_rename_that_fails_for_another_reason_is_not_tried_otherwise(tmp_path, folder, monkeypatch):
    monkeypatch.setattr(disk_module, "_renameat2", failing(errno.EIO))
    (tmp_path / "a").touch()

    with pytest.raises(OSError) as caught:
        DISK.rename_exclusive("a", "b", src_dir_fd=folder, dst_dir_fd=folder)

    assert (caught.value.errno, caught.value.filename, caught.value.filename2) == (errno.EIO, "a", "b")
    assert (tmp_path / "a").exists()


def test_a_link_whose_answer_was_lost_has_worked(tmp_path, folder, monkeypatch):
    monkeypatch.setattr(disk_module, "_renameat2", None)
    (tmp_path / "a").touch()
    os.link(tmp_path / "a", tmp_path / "b")

    DISK.rename_exclusive("a", "b", src_dir_fd=folder, dst_dir_fd=folder)

    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_a_second_name_that_cannot_be_removed_is_no_error(tmp_path, folder, monkeypatch):
    monkeypatch.setattr(disk_module, "_renameat2", None)
    monkeypatch.setattr(os, "unlink", raising(OSError(errno.EIO, "")))
    (tmp_path / "a").touch()

    DISK.rename_exclusive("a", "b", src_dir_fd=folder, dst_dir_fd=folder)

    monkeypatch.undo()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_a_library_without_renameat2_is_noticed():
    assert disk_module._renameat2_of(object()) is None  # type: ignore[arg-type]  # any library


def test_replace_puts_a_file_over_another(tmp_path, folder):
    (tmp_path / "a").write_bytes(b"new")
    (tmp_path / "b").write_bytes(b"old")

    DISK.replace("a", "b", dir_fd=folder)

    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"b": b"new"}


def planted(tmp_path, what):
    """Put something in place of a file or directory `x`."""
    path = tmp_path / "x"
    match what:
        case "file":
            path.touch()
        case "directory":
            path.mkdir()
        case "link":
            (tmp_path / "target").mkdir()
            path.symlink_to("target")
        case "dangling link":
            path.symlink_to("nowhere")
        case "fifo":
            os.mkfifo(path)


def raising(error):
    def call(*args: object, **kwargs: object) -> None:
        raise error

    return call
