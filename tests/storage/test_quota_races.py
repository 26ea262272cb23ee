import os
import threading
from multiprocessing import get_context

import pytest

from storage.disk import Disk
from storage.errors import StorageError
from storage.quota import Full
from storage.quota_limit import Usage
from tests.support.quotas import box_of, files_of, lines_of, make_maildir


def fill(maildir, limit, tries, done):
    """Deliver as often as it fits, from several threads."""
    files, box = files_of(), box_of(maildir, limit)

    def deliver():
        for _ in range(tries):
            try:
                reservation = files.reserve(box, Usage(100, 1))
            except Full:
                continue
            put_unique(maildir)
            reservation.keep()

    threads = [threading.Thread(target=deliver) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    done.put(None)


def put_unique(maildir):
    name = f"1.{os.getpid()}.{threading.get_ident()}.{os.urandom(8).hex()},S=100"
    (maildir / "new" / name).write_bytes(b"")


def test_deliveries_at_the_same_time_never_overrun_the_limit_and_use_all_of_it(tmp_path):
    maildir = make_maildir(tmp_path / "box")
    context = get_context("fork")
    done = context.Queue()
    processes = [context.Process(target=fill, args=(maildir, "3000", 12, done)) for _ in range(3)]

    for process in processes:
        process.start()
    for process in processes:
        done.get(timeout=60)
        process.join(60)

    assert len(list((maildir / "new").iterdir())) <= 30
    fill(maildir, "3000", 10, context.Queue())
    assert len(list((maildir / "new").iterdir())) == 30
    assert files_of().standing(box_of(maildir, "3000")).usage == Usage(3000, 30)


def reserve_and_die(maildir):
    files_of().reserve(box_of(maildir, "1000"), Usage(900, 1))
    os._exit(0)


def test_a_process_that_dies_with_a_reservation_makes_nothing_wrong_that_a_count_does_not_mend(tmp_path):
    maildir = make_maildir(tmp_path / "box")
    process = get_context("fork").Process(target=reserve_and_die, args=(maildir,))
    process.start()
    process.join(30)
    assert lines_of(maildir) == ["1000S", "0 0", "900 1"]

    reservation = files_of().reserve(box_of(maildir, "1000"), Usage(800, 1))

    assert reservation.standing.usage == Usage(800, 1)
    assert lines_of(maildir) == ["1000S", "0 0", "800 1"]


class Replacing(Disk):
    """Just before a reservation locks the file, another program puts a new one in its place."""

    def __init__(self, maildir, times):
        self.maildir, self.times = maildir, times

    def lock_shared(self, fd):
        if self.times:
            self.times -= 1
            (self.maildir / "theirs").write_text("1000S\n500 5\n")
            (self.maildir / "theirs").rename(self.maildir / "maildirsize")
        super().lock_shared(fd)


def test_a_file_that_is_replaced_before_it_is_locked_is_looked_at_anew(tmp_path):
    maildir = make_maildir(tmp_path / "box")

    reservation = files_of(Replacing(maildir, 1)).reserve(box_of(maildir, "1000"), Usage(100, 1))

    assert reservation.standing.usage == Usage(600, 6)
    assert lines_of(maildir) == ["1000S", "500 5", "100 1"]


def test_a_file_that_is_replaced_all_the_time_is_a_fault_of_the_moment(tmp_path):
    maildir = make_maildir(tmp_path / "box")

    with pytest.raises(StorageError, match="replaced again and again"):
        files_of(Replacing(maildir, 100)).reserve(box_of(maildir, "1000"), Usage(100, 1))


def test_who_waited_for_a_count_does_not_count_again(tmp_path):
    maildir = make_maildir(tmp_path / "box")
    (maildir / "maildirsize").write_text("1000S\n900 9\n50 1\n")

    class Beaten(Disk):
        is_beaten = False

        def try_lock_alone(self, fd):
            if not self.is_beaten:
                self.is_beaten = True
                (maildir / "theirs").write_text("1000S\n950 9\n")
                (maildir / "theirs").rename(maildir / "maildirsize")
            return super().try_lock_alone(fd)

    standing = files_of(Beaten()).standing(box_of(maildir, "1000"), adding=Usage(300, 1))

    assert standing.usage == Usage(950, 9)
    assert standing.is_certain
