import os
import threading
from multiprocessing import get_context

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
