import os

import pytest

from storage import quota
from storage.disk import Disk
from storage.errors import MailboxMissing, MailboxUnusable
from storage.quota import Full, Standing, with_extra
from storage.quota_count import Counting
from storage.quota_limit import UNLIMITED, QuotaLimit, Usage
from tests.support.quotas import box_of, files_of, lines_of, make_maildir, make_old, put


@pytest.fixture
def maildir(tmp_path):
    return make_maildir(tmp_path / "box")


def test_without_a_file_the_mailbox_is_counted(maildir):
    put(maildir, 100)

    standing = files_of().standing(box_of(maildir, "1000S,10C"))

    assert standing == Standing(QuotaLimit(1000, 10), Usage(100, 1))
    assert lines_of(maildir) == ["1000S,10C", "100 1"]
    assert list((maildir / "tmp").iterdir()) == []
    assert (maildir / "maildirsize").stat().st_mode & 0o777 == 0o600


def test_with_a_file_it_is_not(maildir):
    put(maildir, 100)
    (maildir / "maildirsize").write_text("1000S\n7 1\n3 1\n")

    assert files_of().standing(box_of(maildir, "1000")).usage == Usage(10, 2)


def test_a_reservation_that_is_kept_is_one_line(maildir):
    files = files_of()
    files.reserve(box_of(maildir, "1000"), Usage(300, 1)).keep()

    assert lines_of(maildir) == ["1000S", "0 0", "300 1"]


def test_a_reservation_that_is_given_back_is_two(maildir):
    reservation = files_of().reserve(box_of(maildir, "1000"), Usage(300, 1))
    reservation.give_back()
    reservation.give_back()
    reservation.keep()

    assert lines_of(maildir) == ["1000S", "0 0", "300 1", "-300 -1"]


@pytest.mark.parametrize("octets, fits", [(899, True), (900, True), (901, False)])
def test_exactly_the_limit_fits(maildir, octets, fits):
    put(maildir, 100)
    files, box = files_of(), box_of(maildir, "1000")

    assert files.standing(box, adding=Usage(octets, 1)).usage == Usage(100, 1)
    if fits:
        assert files.reserve(box, Usage(octets, 1)).standing.usage == Usage(100 + octets, 2)
    else:
        with pytest.raises(Full, match="100 octets in 1 messages of 1000 are used"):
            files.reserve(box, Usage(octets, 1))


@pytest.mark.parametrize("count, fits", [(1, True), (2, False)])
def test_messages_are_limited_too(maildir, count, fits):
    for _ in range(count):
        put(maildir, 1)

    if fits:
        files_of().reserve(box_of(maildir, "0,2M"), Usage(10**9, 1))
    else:
        with pytest.raises(Full):
            files_of().reserve(box_of(maildir, "0,2M"), Usage(1, 1))


def test_what_is_not_enforced_always_fits_and_is_counted(maildir):
    put(maildir, 100)

    files_of().reserve(box_of(maildir, "50"), Usage(10, 1), enforced=False).keep()

    assert lines_of(maildir) == ["50S", "100 1", "10 1"]


def test_a_full_mailbox_is_counted_before_it_is_said_to_be_full(maildir):
    (maildir / "maildirsize").write_text("1000S\n900 9\n50 1\n")

    assert files_of().reserve(box_of(maildir, "1000"), Usage(300, 1)).standing.usage == Usage(300, 1)


@pytest.mark.parametrize("age_s, counted", [(quota.STALE_S - 60, False), (quota.STALE_S + 60, True)])
def test_but_not_again_within_a_quarter_of_an_hour(maildir, age_s, counted):
    (maildir / "maildirsize").write_text("1000S\n900 9\n")
    make_old(maildir, age_s)

    standing = files_of().standing(box_of(maildir, "1000"), adding=Usage(300, 1))

    assert standing.usage == (Usage(0, 0) if counted else Usage(900, 9))
    assert standing.is_certain


@pytest.mark.parametrize(
    "text", ["", "1000S\n", "1000S\n1 1\nx\n", "1000S\n-5 1\n", "1000S\n" + "1 1\n" * 1300]
)
def test_a_file_that_cannot_be_trusted_is_replaced(maildir, text):
    put(maildir, 100)
    (maildir / "maildirsize").write_text(text)

    assert files_of().standing(box_of(maildir, "1000")).usage == Usage(100, 1)
    assert lines_of(maildir) == ["1000S", "100 1"]


def test_another_limit_is_written_down_for_others(maildir):
    (maildir / "maildirsize").write_text("1000S\n0 0\n")

    files_of().standing(box_of(maildir, "2000,5M"))

    assert lines_of(maildir) == ["2000S,5C", "0 0"]


def test_the_file_can_set_the_limit(maildir):
    (maildir / "maildirsize").write_text("1000S\n0 0\n")
    files, box = files_of(), box_of(maildir, None)

    assert files.standing(box).limit == QuotaLimit(1000)
    with pytest.raises(Full):
        files.reserve(box, Usage(1001, 1))
    assert lines_of(maildir) == ["1000S", "0 0"]


def test_where_the_file_sets_the_limit_there_is_none_without_it(maildir):
    files, box = files_of(), box_of(maildir, None)

    assert files.standing(box) == Standing(UNLIMITED, Usage(0, 0))
    files.reserve(box, Usage(10**15, 1)).keep()
    assert not (maildir / "maildirsize").exists()


def test_a_file_without_a_limit_is_kept_up_for_others(maildir):
    (maildir / "maildirsize").write_text("0S\n5 1\n")

    files_of().reserve(box_of(maildir, None), Usage(10, 1)).keep()

    assert lines_of(maildir) == ["0S", "5 1", "10 1"]


def test_a_folder_may_hold_more(maildir):
    put(maildir, 900)
    files, box = files_of(), box_of(maildir, "1000")

    reservation = files.reserve(box, Usage(200, 1), extra=QuotaLimit(100))

    assert reservation.standing == Standing(QuotaLimit(1100), Usage(1100, 2))
    assert with_extra(QuotaLimit(0, 5), QuotaLimit(7, 1)) == QuotaLimit(0, 6)


def test_the_rules_of_counting_are_those_of_the_box(maildir):
    put(make_maildir(maildir / ".Trash"), 100)
    put(maildir, 10, flags="T")
    box = box_of(maildir, "1000", Counting(ignored=frozenset({"Trash"}), counts_trashed=False))

    assert files_of().standing(box).usage == Usage(0, 0)


def test_a_recount_tells_and_writes_what_is_there(maildir):
    put(maildir, 100)
    (maildir / "maildirsize").write_text("1000S\n7 7\n")
    files, box = files_of(), box_of(maildir, None)

    assert files.actual(box) == Usage(100, 1)
    assert lines_of(maildir) == ["1000S", "7 7"]
    assert files.recount(box) == Standing(QuotaLimit(1000), Usage(100, 1))
    assert lines_of(maildir) == ["1000S", "100 1"]


def test_a_kept_message_is_entered_into_the_file_that_another_program_has_made(maildir):
    reservation = files_of().reserve(box_of(maildir, "1000"), Usage(300, 1))
    (maildir / "theirs").write_text("1000S\n0 0\n")
    (maildir / "theirs").rename(maildir / "maildirsize")

    reservation.keep()

    assert lines_of(maildir) == ["1000S", "0 0", "300 1"]


def test_what_is_reserved_and_not_yet_there_is_not_lost_in_a_count(maildir):
    files, box = files_of(), box_of(maildir, "1000")
    reservation = files.reserve(box, Usage(900, 1))

    with pytest.raises(Full) as caught:
        files.reserve(box, Usage(200, 1))

    assert not caught.value.standing.is_certain
    reservation.give_back()
    assert files.reserve(box, Usage(200, 1)).standing.usage == Usage(200, 1)


class Once(Disk):
    """Says how often somebody wanted a file for himself."""

    tries = 0

    def try_lock_alone(self, fd):
        self.tries += 1
        return super().try_lock_alone(fd)


def test_a_reservation_waits_for_no_other_one(maildir):
    disk, box = Once(), box_of(maildir, "1000")
    files = files_of(disk)
    reservation = files.reserve(box, Usage(900, 1))
    disk.tries = 0

    with pytest.raises(Full):
        files.reserve(box, Usage(200, 1))

    assert disk.tries == 1
    reservation.keep()


def test_who_only_asks_waits_for_reservations_a_while(maildir, monkeypatch):
    monkeypatch.setattr(quota, "WAIT_S", 0.05)
    disk, box = Once(), box_of(maildir, "1000")
    files = files_of(disk)
    reservation = files.reserve(box, Usage(900, 1))
    disk.tries = 0

    standing = files.standing(box, adding=Usage(200, 1))

    assert not standing.is_certain
    assert disk.tries > 1
    reservation.give_back()
    assert files.standing(box, adding=Usage(200, 1)).is_certain


def test_who_is_overtaken_between_looking_and_entering_is_told(maildir):
    files, box = files_of(), box_of(maildir, "1000")
    files.standing(box)

    class Overtaken(Disk):
        def lock_shared(self, fd):
            super().lock_shared(fd)
            if not self.done:
                self.done = True
                files.reserve(box, Usage(900, 1)).keep()

        done = False

    with pytest.raises(Full) as caught:
        files_of(Overtaken()).reserve(box, Usage(200, 1))

    assert caught.value.standing == Standing(QuotaLimit(1000), Usage(900, 1), is_certain=False)
    assert lines_of(maildir) == ["1000S", "0 0", "900 1", "200 1", "-200 -1"]


def test_a_mailbox_that_changes_while_it_is_counted_is_counted_again(maildir):
    class Busy(Disk):
        changes = 1

        def list_names(self, fd, *, at_most=None):
            names = super().list_names(fd, at_most=at_most)
            if self.changes and os.readlink(f"/proc/self/fd/{fd}").endswith("/cur"):
                self.changes -= 1
                put(maildir, 100)
            return names

    assert files_of(Busy()).standing(box_of(maildir, "1000")).usage == Usage(100, 1)


def test_a_missing_mailbox_is_told(tmp_path):
    with pytest.raises(MailboxMissing):
        files_of().standing(box_of(tmp_path / "nobody", "1000"))


def test_a_link_in_place_of_the_file_is_not_followed(maildir, tmp_path):
    (tmp_path / "target").write_text("1000S\n0 0\n")
    (maildir / "maildirsize").symlink_to(tmp_path / "target")

    with pytest.raises(MailboxUnusable):
        files_of().standing(box_of(maildir, "1000"))
    assert (tmp_path / "target").read_text() == "1000S\n0 0\n"


def test_a_count_that_cannot_be_written_leaves_nothing_behind(maildir):
    class Failing(Disk):
        def sync(self, fd):
            raise OSError(28, "No space left on device")

    with pytest.raises(Exception, match="No space"):
        files_of(Failing()).standing(box_of(maildir, "1000"))
    assert list((maildir / "tmp").iterdir()) == []
    assert not (maildir / "maildirsize").exists()
