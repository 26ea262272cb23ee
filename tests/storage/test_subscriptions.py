import errno

import pytest

from storage.disk import Disk
from storage.errors import MailboxMissing, MailboxUnusable, NameTaken, StorageError
from storage.folders import FolderNameError, Layout
from storage.maildir import MaildirPath
from storage.subscriptions import LIST_OCTETS, LOCK_STALE_S, subscribe
from tests.support.memory_disk import MemoryDisk
from tests.support.storing import PATH, USER

LIST = f"{PATH}/subscriptions"


@pytest.fixture
def disk():
    disk = MemoryDisk()
    disk.make(PATH)
    return disk


def enter(disk, folder, layout=Layout.MAILDIRPP):
    return subscribe(disk, USER, layout, folder=folder)


@pytest.mark.parametrize("layout", list(Layout))
@pytest.mark.parametrize(
    "folder, line",
    [("A", b"A"), ("A/B", b"A\tB"), ("été/à & b", b"&AOk-t&AOk-\t&AOA- &- b"), ("inbox", b"INBOX")],
)
def test_a_new_list_is_as_dovecot_writes_it(disk, layout, folder, line):
    assert enter(disk, folder, layout)

    assert disk.files(PATH) == {"subscriptions": b"V\t2\n\n" + line + b"\n"}


def test_a_folder_is_added_behind_the_others(disk):
    disk.put(LIST, b"V\t2\n\nSent\n")

    enter(disk, "A/B")

    assert disk.files(PATH) == {"subscriptions": b"V\t2\n\nSent\nA\tB\n"}


@pytest.mark.parametrize("layout, line", [(Layout.MAILDIRPP, b"A.B"), (Layout.FS, b"A/B")])
@pytest.mark.parametrize("content", [b"Sent\n", b"Sent", b""])
def test_an_older_list_stays_one(disk, layout, line, content):
    disk.put(LIST, content)

    enter(disk, "A/B", layout)

    before = b"Sent\n" if content else b""
    assert disk.files(PATH) == {"subscriptions": before + line + b"\n"}


@pytest.mark.parametrize("content", [b"V\t2\n\nSent\nA\tB\n", b"A.B\nSent", b"A.B"])
def test_a_folder_that_is_there_is_not_added(disk, content):
    disk.put(LIST, content)

    assert not enter(disk, "A/B")

    assert disk.files(PATH) == {"subscriptions": content}


def test_a_list_that_somebody_else_writes_is_left_alone(disk):
    disk.put(f"{LIST}.lock", b"theirs")

    with pytest.raises(NameTaken):
        enter(disk, "A")

    assert disk.files(PATH) == {"subscriptions.lock": b"theirs"}


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("at", range(1, 16))
def test_an_error_leaves_the_old_list_and_no_lock(disk, number, at):
    disk.put(LIST, b"V\t2\n\nSent\n")
    disk.fail(at, OSError(number, "injected"))

    try:
        enter(disk, "A")
        left = b"V\t2\n\nSent\nA\n"
    except StorageError:
        left = b"V\t2\n\nSent\n"

    assert disk.files(PATH) == {"subscriptions": left}
    assert [path for path in disk.open_handles() if "subscriptions" in path] == []


def test_short_writes_go_on(disk):
    disk.largest_write = 3

    enter(disk, "Archive")

    assert disk.files(PATH) == {"subscriptions": b"V\t2\n\nArchive\n"}


@pytest.mark.parametrize("octets, is_a_list", [(LIST_OCTETS, True), (LIST_OCTETS + 1, False)])
def test_what_is_too_long_is_no_list(disk, octets, is_a_list):
    content = b"x" * (octets - 1) + b"\n"
    disk.put(LIST, content)

    if is_a_list:
        assert enter(disk, "A")
    else:
        with pytest.raises(StorageError, match="octets"):
            enter(disk, "A")
        assert disk.files(PATH) == {"subscriptions": content}


def test_a_link_in_place_of_the_list_is_not_followed(tmp_path):
    (tmp_path / "secret").write_bytes(b"secret\n")
    (tmp_path / "user").mkdir()
    (tmp_path / "user/subscriptions").symlink_to("../secret")

    with pytest.raises(MailboxUnusable):
        subscribe(Disk(), MaildirPath(str(tmp_path), ("user",)), Layout.FS, folder="A")

    assert (tmp_path / "secret").read_bytes() == b"secret\n"
    assert [path.name for path in (tmp_path / "user").iterdir()] == ["subscriptions"]


def test_a_list_on_a_real_disk(tmp_path):
    (tmp_path / "user").mkdir()
    where = MaildirPath(str(tmp_path), ("user",))

    added = [subscribe(Disk(), where, Layout.FS, folder=folder) for folder in ("A", "B", "A")]

    assert added == [True, True, False]
    assert (tmp_path / "user/subscriptions").read_bytes() == b"V\t2\n\nA\nB\n"


def test_no_mailbox_is_made_for_a_list(disk):
    disk.remove(PATH)

    with pytest.raises(MailboxMissing):
        enter(disk, "A")


def test_an_impossible_folder_is_not_entered(disk):
    with pytest.raises(FolderNameError):
        enter(disk, "a\nb")

    assert disk.files(PATH) == {}


@pytest.mark.parametrize("left_s, is_dead", [(LOCK_STALE_S - 1, False), (LOCK_STALE_S + 1, True)])
def test_a_lock_that_somebody_has_died_over_is_broken(tmp_path, monkeypatch, left_s, is_dead):
    (tmp_path / "user").mkdir()
    lock = tmp_path / "user/subscriptions.lock"
    lock.write_bytes(b"V\t2\n\nHalf")
    made = lock.stat().st_ctime
    monkeypatch.setattr("storage.subscriptions.time.time", lambda: made + left_s)
    where = MaildirPath(str(tmp_path), ("user",))

    if is_dead:
        assert subscribe(Disk(), where, Layout.FS, folder="A")
        assert (tmp_path / "user/subscriptions").read_bytes() == b"V\t2\n\nA\n"
    else:
        with pytest.raises(NameTaken):
            subscribe(Disk(), where, Layout.FS, folder="A")
        assert lock.read_bytes() == b"V\t2\n\nHalf"
