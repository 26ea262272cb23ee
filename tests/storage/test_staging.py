import errno

import pytest

from storage.errors import DiskFull, MailboxFull, StorageError
from storage.maildir import Durability
from tests.support.memory_disk import MemoryDisk
from tests.support.memory_faults import PowerCut
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


def test_the_calls_of_a_delivery_are_the_needed_ones_in_their_order(disk, maildir):
    with maildir.stage() as staged:
        staged.write(b"hello")
        staged.sync()
        staged.publish("final")
    maildir.sync()

    name = staged.name
    assert disk.log == [
        ("create", f"{TMP}/{name}"),
        ("write", f"{TMP}/{name}"),
        ("sync", f"{TMP}/{name}"),
        ("close", f"{TMP}/{name}"),
        ("rename_exclusive", f"{NEW}/final"),
        ("sync", NEW),
    ]


def test_a_published_message_is_complete(disk, staged):
    for piece in (b"one ", memoryview(b"two "), b"", b"three"):
        staged.write(piece)
    staged.sync()
    staged.publish("final")

    assert staged.octets == 13
    assert disk.files(NEW) == {"final": b"one two three"}
    assert disk.files(TMP) == {}


@pytest.mark.parametrize("largest", [1, 2, 5, 11, 12])
def test_short_writes_go_on_until_all_is_written(disk, staged, largest):
    disk.largest_write = largest
    staged.write(b"hello world")
    staged.write(b"!")

    assert disk.files(TMP) == {staged.name: b"hello world!"}
    assert staged.octets == 12


def test_what_hinders_a_short_write_is_told(disk, staged):
    disk.largest_write = 4
    fail_next(disk, 2, errno.ENOSPC)

    with pytest.raises(DiskFull):
        staged.write(b"hello world")

    assert staged.octets == 0


def test_a_disk_that_takes_nothing_does_not_keep_us_for_ever(disk, staged):
    disk.largest_write = 0

    with pytest.raises(StorageError, match="no more octets"):
        staged.write(b"hello")
    with pytest.raises(StorageError, match="is failed"):
        staged.sync()


# -- copying from another


def test_a_message_can_be_copied_from_another_that_is_not_finished(disk, maildir, staged):
    staged.write(b"head A\nbody and more")
    other = maildir.stage()

    other.write(b"head B\n")
    other.write_from(staged, 7, 4)

    assert disk.files(TMP)[other.name] == b"head B\nbody"
    assert other.octets == 11
    staged.write(b"!")
    assert disk.files(TMP)[staged.name] == b"head A\nbody and more!"


def test_copying_goes_on_until_all_is_copied(disk, maildir, staged):
    staged.write(b"0123456789")
    disk.largest_write = 3
    other = maildir.stage()

    other.write_from(staged, 1, 8)

    assert disk.files(TMP)[other.name] == b"12345678"


def test_a_message_can_be_copied_from_one_that_failed(disk, maildir, staged):
    staged.write(b"good")
    fail_next(disk, 1, errno.EDQUOT)
    with pytest.raises(MailboxFull):
        staged.write(b"bad")
    other = maildir.stage()

    other.write_from(staged, 0, 4)

    assert disk.files(TMP)[other.name] == b"good"


def test_a_source_that_is_too_short_is_an_error(maildir, staged):
    staged.write(b"short")
    other = maildir.stage()

    with pytest.raises(StorageError, match="no more octets"):
        other.write_from(staged, 0, 6)
    with pytest.raises(StorageError, match="is failed"):
        other.sync()


def test_a_source_that_is_closed_is_an_error(maildir, staged):
    staged.write(b"body")
    staged.sync()
    other = maildir.stage()

    with pytest.raises(StorageError):
        other.write_from(staged, 0, 4)


def test_a_copy_that_fails_is_not_published(disk, maildir, staged):
    staged.write(b"body")
    other = maildir.stage()
    fail_next(disk, 1, errno.ENOSPC)

    with pytest.raises(DiskFull):
        other.write_from(staged, 0, 4)
    with pytest.raises(StorageError, match="is failed"):
        other.sync()


# -- discarding


def test_leaving_without_publish_discards(disk, maildir):
    with maildir.stage() as staged:
        staged.write(b"hello")
        staged.sync()

    assert disk.files(TMP) == disk.files(NEW) == {}


def test_an_error_inside_discards_and_goes_on(disk, maildir):
    with pytest.raises(KeyError), maildir.stage() as staged:
        staged.write(b"hello")
        raise KeyError

    assert disk.files(TMP) == {}
    assert not [path for path in disk.open_handles() if path.startswith(f"{TMP}/")]


def test_a_published_message_is_not_discarded(disk, staged):
    staged.sync()
    staged.publish("final")

    staged.discard()

    assert list(disk.files(NEW)) == ["final"]


def test_discarding_twice_removes_once(disk, staged):
    staged.discard()
    staged.discard()

    assert calls(disk) == ["create", "close", "unlink"]


@pytest.mark.parametrize("call_number", [1, 2])
def test_discarding_never_raises(disk, staged, call_number):
    fail_next(disk, call_number, errno.EIO)

    staged.discard()

    assert calls(disk) == ["create", "close", "unlink"]


def test_a_message_that_somebody_removed_is_discarded_all_the_same(disk, staged):
    disk.remove(f"{TMP}/{staged.name}")

    staged.discard()


def test_a_power_cut_is_not_swallowed(disk, maildir):
    disk.fail(3, PowerCut())

    with pytest.raises(PowerCut), maildir.stage() as staged:
        staged.write(b"hello")
        staged.sync()


# -- durability


@pytest.mark.parametrize(
    "durable, syncs",
    [(Durability.FULL, ["file", "new"]), (Durability.DATA, ["file"]), (Durability.NONE, [])],
)
def test_what_is_synced_is_what_was_asked_for(disk, durable, syncs):
    maildir = maildirs_on(disk, durable=durable).open(USER, create=True)
    disk.log.clear()

    with maildir.stage() as staged:
        staged.write(b"hello")
        staged.sync()
        staged.publish("final")
    maildir.sync()

    synced = [where for call, where in disk.log if call == "sync"]
    assert synced == [{"file": f"{TMP}/{staged.name}", "new": NEW}[what] for what in syncs]
    assert calls(disk).count("close") == 1
