"""A Maildir that is held open is opened afresh when it is not what it was."""

import errno
import gc
import shutil

import pytest

from storage.disk import Disk
from storage.errors import MailboxMissing, MailboxUnusable, StorageError
from storage.maildir import MaildirPath
from tests.support.memory_disk import MemoryDisk
from tests.support.storing import PATH, ROOT, USER, deliver, maildirs_on

NEW = f"{PATH}/new"


@pytest.fixture
def disk():
    disk = MemoryDisk()
    disk.make(ROOT)
    return disk


@pytest.fixture
def maildirs(disk):
    return maildirs_on(disk)


def opened(disk):
    """Return the paths of the Maildirs whose handles are open."""
    gc.collect()  # a traceback that pytest keeps may hold one
    return [path.removesuffix("/new") for path in disk.open_handles() if path.endswith("/new")]


@pytest.mark.parametrize("removed", [PATH, NEW, f"{ROOT}/example.org"])
def test_a_maildir_that_was_replaced_is_opened_afresh(disk, maildirs, removed):
    deliver(maildirs, b"old")
    disk.remove(removed)
    disk.make(PATH)

    name = deliver(maildirs, b"new", create=False)

    assert disk.files(NEW) == {name: b"new"}
    assert opened(disk) == [PATH]


def test_a_maildir_that_was_removed_is_missing_and_not_held(disk, maildirs):
    deliver(maildirs, b"old")
    disk.remove(PATH)

    with pytest.raises(MailboxMissing):
        maildirs.open(USER, create=False)

    assert opened(disk) == []


def test_a_maildir_that_became_unusable_is_unusable(tmp_path):
    maildirs = maildirs_on(Disk())
    where = MaildirPath(str(tmp_path), ("user",))
    maildirs.open(where, create=True)
    (tmp_path / "elsewhere/new").mkdir(parents=True)
    shutil.rmtree(tmp_path / "user/new")
    (tmp_path / "user/new").symlink_to(tmp_path / "elsewhere/new")

    with pytest.raises(MailboxUnusable):
        maildirs.open(where, create=True)


def test_an_inode_is_not_used_again_while_it_is_held(tmp_path):
    # A new directory in the place of a removed one must not pass for it.
    maildirs = maildirs_on(Disk())
    where = MaildirPath(str(tmp_path), ("user",))
    for number in range(20):
        deliver(maildirs, str(number).encode(), where=where)
        assert [path.read_text() for path in (tmp_path / "user/new").iterdir()] == [str(number)]
        shutil.rmtree(tmp_path / "user")


@pytest.mark.parametrize("gone", ["tmp", "new"])
def test_a_directory_removed_in_between_is_repaired_for_the_next(disk, maildirs, gone):
    def remove(tmp, name):
        disk.remove(f"{PATH}/{gone}")

    with pytest.raises(MailboxUnusable):
        deliver(maildirs, b"first", intend=remove)
    name = deliver(maildirs, b"second", create=False)

    assert disk.files(NEW) == {name: b"second"}


def test_a_tmp_that_was_removed_is_repaired_for_the_next(disk, maildirs):
    deliver(maildirs, b"first")
    disk.remove(f"{PATH}/tmp")

    with pytest.raises(MailboxUnusable):
        deliver(maildirs, b"second")
    deliver(maildirs, b"second")

    assert sorted(disk.files(NEW).values()) == [b"first", b"second"]


def test_after_a_failed_sync_the_maildir_is_opened_afresh(disk, maildirs):
    maildir = maildirs.open(USER, create=True)
    disk.fail(len(disk.log) + 1, OSError(errno.EIO, "injected"))
    with pytest.raises(StorageError):
        maildir.sync()

    assert maildirs.open(USER, create=False) is not maildir


def test_an_old_one_that_fails_does_not_take_the_new_one_along(disk, maildirs):
    old = maildirs.open(USER, create=True)
    disk.remove(PATH)
    current = maildirs.open(USER, create=True)

    with pytest.raises(MailboxUnusable):
        old.stage()

    assert maildirs.open(USER, create=False) is current
