"""What fails while a message is staged is final for it."""

import errno

import pytest

from storage.errors import DiskFull, MailboxUnusable, NameTaken, StorageError
from tests.support.memory_disk import MemoryDisk
from tests.support.storing import PATH, ROOT, USER, maildirs_on

TMP, NEW = f"{PATH}/tmp", f"{PATH}/new"


@pytest.fixture
def disk():
    disk = MemoryDisk()
    disk.make(ROOT)
    return disk


@pytest.fixture
def maildir(disk):
    maildir = maildirs_on(disk).open(USER, create=True)
    disk.log.clear()
    return maildir


@pytest.fixture
def staged(maildir):
    return maildir.stage()


def calls(disk):
    return [call for call, _ in disk.log]


def fail_next(disk, call_number, number, **how):
    disk.fail(len(disk.log) + call_number, OSError(number, "injected"), **how)


@pytest.mark.parametrize("after_effect", [False, True])
def test_after_a_failed_write_a_message_can_only_be_discarded(disk, staged, after_effect):
    fail_next(disk, 1, errno.EIO, after_effect=after_effect)
    with pytest.raises(StorageError):
        staged.write(b"hello")

    for refused in (lambda: staged.write(b"x"), staged.sync, lambda: staged.publish("final")):
        with pytest.raises(StorageError, match="is failed"):
            refused()
    staged.discard()

    assert disk.files(TMP) == disk.files(NEW) == {}


@pytest.mark.parametrize("failing", ["sync", "close"])
@pytest.mark.parametrize("after_effect", [False, True])
def test_a_failed_sync_or_close_removes_the_file_and_is_never_retried(disk, staged, failing, after_effect):
    staged.write(b"hello")
    disk.log.append(("mark", ""))
    fail_next(disk, 1 if failing == "sync" else 2, errno.EIO, after_effect=after_effect)

    with pytest.raises(StorageError):
        staged.sync()

    assert calls(disk)[calls(disk).index("mark") + 1 :] == ["sync", "close", "unlink"]
    assert disk.files(TMP) == {}
    for refused in (staged.sync, lambda: staged.publish("final"), lambda: staged.write(b"x")):
        with pytest.raises(StorageError, match="is discarded"):
            refused()
    assert calls(disk).count("sync") == 1


def test_a_message_is_synced_once(staged):
    staged.sync()

    with pytest.raises(StorageError, match="is synced, not open"):
        staged.sync()


def test_a_message_that_was_not_synced_is_not_published(disk, staged):
    staged.write(b"hello")

    with pytest.raises(StorageError, match="is open, not synced"):
        staged.publish("final")

    assert disk.files(NEW) == {}


def test_a_synced_message_does_not_change(staged):
    staged.sync()

    with pytest.raises(StorageError, match="is synced, not open"):
        staged.write(b"x")


def test_a_taken_name_leaves_the_choice_of_another(disk, staged):
    disk.put(f"{NEW}/taken", b"old")
    staged.write(b"hello")
    staged.sync()

    with pytest.raises(NameTaken):
        staged.publish("taken")
    staged.publish("free")

    assert disk.files(NEW) == {"taken": b"old", "free": b"hello"}


def test_a_path_is_no_name(disk, staged):
    staged.sync()

    with pytest.raises(ValueError, match="not a path"):
        staged.publish("../../other/new/x")


@pytest.mark.parametrize("number, error", [(errno.EIO, StorageError), (errno.ENOSPC, DiskFull)])
def test_a_failed_rename_is_told_and_the_file_goes(disk, maildir, number, error):
    with pytest.raises(error), maildir.stage() as staged:
        staged.sync()
        fail_next(disk, 1, number)
        staged.publish("final")

    assert disk.files(TMP) == disk.files(NEW) == {}


def test_a_rename_that_worked_though_it_failed_leaves_the_message(disk, maildir):
    with pytest.raises(StorageError), maildir.stage() as staged:
        staged.write(b"hello")
        staged.sync()
        fail_next(disk, 1, errno.EIO, after_effect=True)
        staged.publish("final")

    assert disk.files(NEW) == {"final": b"hello"}


@pytest.mark.parametrize("gone", ["tmp", "new"])
def test_a_directory_that_is_gone_at_the_rename_is_no_missing_mailbox(disk, staged, gone):
    staged.sync()
    disk.remove(f"{PATH}/{gone}")

    with pytest.raises(MailboxUnusable, match="removed or replaced"):
        staged.publish("final")
