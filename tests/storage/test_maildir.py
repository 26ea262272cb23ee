"""One open Maildir: staging, finding, clearing away."""

import errno

import pytest

from storage.errors import DiskFull, MailboxUnusable, NameTaken, OutOfDescriptors, StorageError
from storage.maildir import NAME_TRIES, MaildirPath
from tests.support.memory_disk import MemoryDisk
from tests.support.storing import PATH, ROOT, USER, deliver, maildirs_on

TMP, NEW, CUR = (f"{PATH}/{name}" for name in ("tmp", "new", "cur"))
DEADLINE_S = 10


@pytest.fixture
def disk():
    disk = MemoryDisk()
    disk.make(ROOT)
    return disk


@pytest.fixture
def maildirs(disk):
    return maildirs_on(disk)


@pytest.fixture
def maildir(disk, maildirs):
    maildir = maildirs.open(USER, create=True)
    disk.log.clear()
    return maildir


def fail_next(disk, number, *, at=1):
    disk.fail(len(disk.log) + at, OSError(number, "injected"))


def test_its_path_is_root_and_parts(maildir):
    assert maildir.path == USER.path == PATH
    assert MaildirPath("/whole/path", ()).path == "/whole/path"


# -- is it still the same


def test_a_maildir_is_current_as_long_as_its_path_leads_to_it(disk, maildir):
    assert maildir.is_current()
    assert disk.log == [("status", NEW)]

    disk.remove(NEW)
    assert not maildir.is_current()

    disk.make(NEW)
    assert not maildir.is_current()


def test_one_that_cannot_be_looked_at_is_not_current(disk, maildir):
    fail_next(disk, errno.EIO)

    assert not maildir.is_current()


@pytest.mark.parametrize(
    "has_marker, wants_marker, serves",
    [(False, False, True), (True, False, True), (True, True, True), (False, True, False)],
)
def test_one_serves_for_another_that_was_asked_for_no_more(disk, has_marker, wants_marker, serves):
    one, another = (
        maildirs_on(disk).open(USER, create=True, marker=marker) for marker in (has_marker, wants_marker)
    )

    assert one.serves_for(another) is serves


def test_one_does_not_serve_for_another_maildir(maildirs, maildir):
    other = maildirs.open(MaildirPath(ROOT, ("other",)), create=True)

    assert not maildir.serves_for(other)


# -- staging


@pytest.mark.parametrize("clashes, is_staged", [(NAME_TRIES - 1, True), (NAME_TRIES, False)])
def test_a_taken_name_in_tmp_is_replaced_by_another(disk, maildir, clashes, is_staged):
    names = iter([*(["taken"] * clashes), "free"])
    maildir._names = type("Names", (), {"next": staticmethod(lambda: next(names))})()
    disk.put(f"{TMP}/taken", b"theirs")

    if is_staged:
        assert maildir.stage().name == "free"
    else:
        with pytest.raises(NameTaken):
            maildir.stage()
    assert disk.files(TMP)["taken"] == b"theirs"


@pytest.mark.parametrize(
    "number, error",
    [
        (errno.ENOSPC, DiskFull),
        (errno.EMFILE, OutOfDescriptors),
        (errno.ENOENT, MailboxUnusable),
        (errno.EACCES, MailboxUnusable),
        (errno.EIO, StorageError),
    ],
)
def test_what_hinders_staging_is_named(disk, maildir, number, error):
    fail_next(disk, number)

    with pytest.raises(error) as caught:
        maildir.stage()

    assert caught.value.oserror is not None
    assert caught.value.oserror.errno == number


# -- finding


NAME = "1760000000.M1P2Q3Raa.mx,S=5,W=6"


@pytest.mark.parametrize(
    "place", [f"{NEW}/{NAME}", *(f"{CUR}/{NAME}{flags}" for flags in ("", ":2,", ":2,S", ":2,FRSab"))]
)
def test_a_message_is_found_under_any_flags(disk, maildir, place):
    disk.put(place)

    assert maildir.holds(NAME)


@pytest.mark.parametrize(
    "place",
    [
        f"{TMP}/{NAME}",
        f"{CUR}/{NAME}0",
        f"{CUR}/{NAME},X=1",
        f"{CUR}/{NAME.removesuffix(',S=5,W=6')}:2,S",
        f"{PATH}/{NAME}",
    ],
)
def test_another_message_is_not_taken_for_it(disk, maildir, place):
    disk.put(place)

    assert not maildir.holds(NAME)


def test_a_message_that_is_new_costs_one_call(disk, maildir):
    disk.put(f"{NEW}/{NAME}")
    disk.put(f"{CUR}/other")

    maildir.holds(NAME)

    assert disk.log == [("status", f"{NEW}/{NAME}")]


def test_a_message_that_is_moved_meanwhile_is_found(disk, maildir):
    disk.put(f"{NEW}/{NAME}")

    def move(call, where):
        if call == "open_directory" and disk.files(NEW):
            raise AssertionError("too late")
        if call == "status":
            disk.on_call = None
            disk.remove(f"{NEW}/{NAME}")
            disk.put(f"{CUR}/{NAME}:2,")

    disk.on_call = move

    assert maildir.holds(NAME)


def test_a_message_that_one_listing_misses_is_found_by_the_next(disk, maildir, monkeypatch):
    # Its flags changed, and the directory was read between its old place and its new one.
    listings = iter([["other:2,"], ["other:2,", f"{NAME}:2,S"]])
    monkeypatch.setattr(MemoryDisk, "list_names", lambda self, fd: next(listings))

    assert maildir.holds(NAME)


def test_looking_is_done_with_the_handle_closed(disk, maildir):
    before = disk.open_handles()

    maildir.holds(NAME)

    assert disk.open_handles() == before


@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_a_look_that_fails_is_no_answer(disk, maildir, at):
    fail_next(disk, errno.EIO, at=at)

    with pytest.raises(StorageError):
        maildir.holds(NAME)


def test_without_cur_there_is_no_answer(disk, maildir):
    disk.remove(CUR)

    with pytest.raises(MailboxUnusable):
        maildir.holds(NAME)


def test_it_finds_what_it_published(maildirs, maildir):
    name = deliver(maildirs, b"hello")

    assert maildir.holds(name)


# -- leftovers


def test_an_own_leftover_is_removed_once(disk, maildir):
    disk.put(f"{TMP}/1760000000.M1P2Q3Raa.mx")

    assert maildir.remove_tmp("1760000000.M1P2Q3Raa.mx")
    assert not maildir.remove_tmp("1760000000.M1P2Q3Raa.mx")
    assert disk.files(TMP) == {}


@pytest.mark.parametrize("name", ["1760000000.M1P2.mx", "../new/1760000000.M1P2Q3Raa.mx", "", "."])
def test_other_names_are_left_alone(disk, maildir, name):
    assert not maildir.remove_tmp(name)
    assert disk.log == []


def test_a_leftover_that_cannot_be_removed_is_an_error(disk, maildir):
    fail_next(disk, errno.EIO)

    with pytest.raises(StorageError):
        maildir.remove_tmp("1760000000.M1P2Q3Raa.mx")


# -- what its errors mean for others


def test_a_taken_name_is_no_reason_to_open_it_afresh(disk, maildirs, maildir):
    disk.put(f"{NEW}/taken")
    staged = maildir.stage()
    staged.sync()
    with pytest.raises(NameTaken):
        staged.publish("taken")

    assert maildirs.open(USER, create=False) is maildir


def test_any_other_error_is(disk, maildirs, maildir):
    fail_next(disk, errno.EIO)
    with pytest.raises(StorageError):
        maildir.stage()

    assert maildirs.open(USER, create=False) is not maildir
