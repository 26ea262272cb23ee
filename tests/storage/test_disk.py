import errno
import os
import stat

import pytest

from storage import disk as disk_module
from storage.disk import Disk

DISK = Disk()


@pytest.fixture
def folder(tmp_path):
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


@pytest.fixture
def umask():
    """Set the umask; the old one comes back."""
    old = os.umask(0o022)
    yield os.umask
    os.umask(old)


def mode(path):
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_what_is_made_is_the_owners_alone_whatever_the_umask(tmp_path, folder, umask, mask):
    umask(mask)

    DISK.make_directory("d", 0o700, dir_fd=folder)
    DISK.close(DISK.create("f", dir_fd=folder))

    assert (mode(tmp_path / "d"), mode(tmp_path / "f")) == (0o700, 0o600)


@pytest.mark.parametrize("plant", ["file", "directory", "link", "dangling link", "fifo"])
def test_nothing_that_exists_is_created(tmp_path, folder, plant):
    planted(tmp_path, plant)

    with pytest.raises(FileExistsError):
        DISK.create("x", dir_fd=folder)


@pytest.mark.parametrize("plant", ["file", "link", "dangling link", "fifo"])
def test_only_a_directory_is_opened_as_one(tmp_path, folder, plant):
    planted(tmp_path, plant)

    with pytest.raises(NotADirectoryError):
        DISK.open_directory("x", dir_fd=folder)
    with pytest.raises(NotADirectoryError):
        DISK.open_path("x", dir_fd=folder)


def test_a_link_to_a_directory_can_be_followed(tmp_path):
    planted(tmp_path, "link")

    for fd in (
        DISK.open_directory(str(tmp_path / "x"), follow=True),
        DISK.open_path(str(tmp_path / "x"), follow=True),
    ):
        assert os.path.samestat(DISK.status_of(fd), (tmp_path / "target").stat())
        DISK.close(fd)


def test_a_directory_that_is_only_passed_leads_to_what_is_below(tmp_path):
    (tmp_path / "d").mkdir()
    fd = DISK.open_path(str(tmp_path))

    DISK.close(DISK.open_directory("d", dir_fd=fd))

    with pytest.raises(OSError, match="Bad file descriptor"):
        DISK.sync(fd)
    DISK.close(fd)


def test_a_link_is_not_read(tmp_path, folder):
    (tmp_path / "target").write_bytes(b"secret")
    (tmp_path / "x").symlink_to("target")

    with pytest.raises(OSError) as caught:
        DISK.open_file("x", dir_fd=folder)

    assert caught.value.errno == errno.ELOOP


def test_opening_a_fifo_does_not_wait_for_its_writer(tmp_path, folder):
    planted(tmp_path, "fifo")

    DISK.close(DISK.open_file("x", dir_fd=folder))


def test_descriptors_are_not_inherited(tmp_path, folder):
    (tmp_path / "d").mkdir()
    opened = [
        DISK.create("f", dir_fd=folder),
        DISK.open_file("f", dir_fd=folder),
        DISK.open_directory("d", dir_fd=folder),
        DISK.open_path("d", dir_fd=folder),
    ]

    inheritable = [os.get_inheritable(fd) for fd in opened]

    for fd in opened:
        DISK.close(fd)
    assert inheritable == [False] * 4


def test_what_was_written_can_be_read(tmp_path, folder):
    fd = DISK.create("f", dir_fd=folder)

    written = DISK.write(fd, b"hello ") + DISK.write(fd, memoryview(b"world"))
    DISK.sync(fd)
    DISK.close(fd)

    assert written == 11
    fd = DISK.open_file("f", dir_fd=folder)
    assert [DISK.read(fd, 8), DISK.read(fd, 8), DISK.read(fd, 8)] == [b"hello wo", b"rld", b""]
    DISK.close(fd)


# -- copying


@pytest.mark.parametrize("number", [None, errno.EXDEV, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS])
def test_a_range_is_appended_whether_or_not_the_kernel_can(folder, monkeypatch, number):
    if number is not None:
        monkeypatch.setattr(os, "copy_file_range", raising(OSError(number, "")))
    source, target = DISK.create("a", dir_fd=folder), DISK.create("b", dir_fd=folder)
    DISK.write(source, b"0123456789")
    DISK.write(target, b"head ")

    copied = [
        DISK.copy_range(source, target, offset=2, octets=5),
        DISK.copy_range(source, target, offset=7, octets=100),
        DISK.copy_range(source, target, offset=10, octets=5),
    ]

    assert copied == [5, 3, 0]
    assert os.pread(target, 100, 0) == b"head 23456789"
    DISK.close(source)
    DISK.close(target)


def test_a_copy_by_hand_takes_a_bounded_piece(folder, monkeypatch):
    monkeypatch.setattr(os, "copy_file_range", raising(OSError(errno.EXDEV, "")))
    monkeypatch.setattr(disk_module, "_COPY_OCTETS", 4)
    source, target = DISK.create("a", dir_fd=folder), DISK.create("b", dir_fd=folder)
    DISK.write(source, b"0123456789")

    assert DISK.copy_range(source, target, offset=0, octets=10) == 4

    DISK.close(source)
    DISK.close(target)


def test_a_full_disk_is_not_met_by_copying_otherwise(folder, monkeypatch):
    monkeypatch.setattr(os, "copy_file_range", raising(OSError(errno.ENOSPC, "")))
    fd = DISK.create("a", dir_fd=folder)

    with pytest.raises(OSError) as caught:
        DISK.copy_range(fd, fd, offset=0, octets=1)

    assert caught.value.errno == errno.ENOSPC
    DISK.close(fd)


# -- looking


def test_status_tells_of_the_link_itself(tmp_path, folder):
    planted(tmp_path, "link")

    assert stat.S_ISLNK(DISK.status("x", dir_fd=folder).st_mode)
    assert stat.S_ISLNK(DISK.status(str(tmp_path / "x")).st_mode)


@pytest.mark.parametrize("at_most, count", [(None, 5), (0, 0), (4, 4), (5, 5), (6, 5)])
def test_a_list_can_be_bounded(tmp_path, folder, at_most, count):
    for number in range(5):
        (tmp_path / str(number)).touch()

    names = DISK.list_names(folder, at_most=at_most)

    assert len(set(names)) == count


def test_a_directory_can_be_listed_again(tmp_path, folder):
    (tmp_path / "a").touch()
    DISK.list_names(folder)
    (tmp_path / "b").touch()
    DISK.unlink("a", dir_fd=folder)

    assert DISK.list_names(folder) == ["b"]


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


def test_who_appends_learns_his_place_whatever_others_append(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(b"one\n")
    disk = Disk()
    mine, theirs = disk.open_to_append(str(path)), disk.open_to_append(str(path))

    ends = [disk.append(fd, b"%d\n" % place) for place, fd in enumerate((mine, theirs, mine))]

    assert ends == [6, 8, 10]
    assert disk.read_at(mine, 100, 4) == b"0\n1\n2\n"


def test_a_file_that_is_missing_or_a_link_is_not_appended_to(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "target")
    (tmp_path / "target").write_bytes(b"")

    with pytest.raises(FileNotFoundError):
        Disk().open_to_append(str(tmp_path / "missing"))
    with pytest.raises(OSError, match="symbolic links"):
        Disk().open_to_append(str(tmp_path / "link"))


def test_a_line_that_is_cut_short_is_an_error(tmp_path, monkeypatch):
    path = tmp_path / "log"
    path.write_bytes(b"")
    fd = Disk().open_to_append(str(path))
    monkeypatch.setattr(os, "write", lambda _fd, data: len(data) - 1)

    with pytest.raises(OSError, match="cut short"):
        Disk().append(fd, b"12\n")


def test_a_lock_is_shared_or_had_alone(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"")
    disk = Disk()
    one, other = disk.open_to_append(str(path)), disk.open_to_append(str(path))
    disk.lock_shared(one)
    disk.lock_shared(other)

    assert not disk.try_lock_alone(one)
    disk.close(other)
    assert disk.try_lock_alone(one)
