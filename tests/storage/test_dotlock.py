import os
import socket
import subprocess
import sys

import pytest

from storage.dotlock import STALE_S, Locked, dotlock
from tests.support.scripting import opened

HOST = socket.gethostname()


class Clock:
    """A clock that moves when somebody waits."""

    def __init__(self, at):
        self.at = at
        self.waits = 0

    def __call__(self):
        return self.at

    def pause(self, seconds):
        self.waits += 1
        self.at += seconds


def clock_at(path, age_s):
    return Clock(max(path.stat().st_mtime, path.stat().st_ctime) + age_s)


def taken(folder, clock, wait_s=1.0):
    with dotlock(opened(folder), "x", wait_s=wait_s, clock=clock, pause=clock.pause):
        return (folder / "x.lock").read_text()


def test_the_lock_says_whose_it_is_and_goes(tmp_path):
    with dotlock(opened(tmp_path), "x"):
        assert (tmp_path / "x.lock").read_text() == f"{os.getpid()}:{HOST}"

    assert not list(tmp_path.iterdir())


def test_it_goes_after_an_error_too(tmp_path):
    with pytest.raises(ZeroDivisionError), dotlock(opened(tmp_path), "x"):
        raise ZeroDivisionError

    assert not list(tmp_path.iterdir())


def test_a_living_holder_is_waited_for_and_not_for_ever(tmp_path):
    lock = tmp_path / "x.lock"
    lock.write_text(f"{os.getpid()}:{HOST}")
    clock = clock_at(lock, 0)

    with pytest.raises(Locked, match=f"{os.getpid()}:{HOST}"):
        taken(tmp_path, clock)

    assert clock.waits >= 19
    assert lock.exists()


def test_a_holder_that_lets_go_is_followed(tmp_path):
    lock = tmp_path / "x.lock"
    lock.write_text(f"{os.getpid()}:{HOST}")
    clock = clock_at(lock, 0)

    def pause(seconds):
        lock.unlink()

    with dotlock(opened(tmp_path), "x", wait_s=1, clock=clock, pause=pause):
        assert lock.exists()


@pytest.mark.parametrize(
    "age_s, holder, is_broken",
    [
        (STALE_S - 1, "1:elsewhere.example", False),
        (STALE_S + 1, "1:elsewhere.example", True),
        (0, f"{os.getpid()}:{HOST}", False),
        (0, "", False),
        (STALE_S + 1, "", True),
        (0, f"x:{HOST}", False),
        (0, f"0:{HOST}", False),
    ],
    ids=["young", "old", "ours", "empty", "old-empty", "no-pid", "pid-0"],  # the same in every process
)
def test_when_a_lock_is_stale(tmp_path, age_s, holder, is_broken):
    lock = tmp_path / "x.lock"
    lock.write_text(holder)
    clock = clock_at(lock, age_s)

    try:
        assert taken(tmp_path, clock, wait_s=0.1) == f"{os.getpid()}:{HOST}"
    except Locked:
        assert not is_broken
    else:
        assert is_broken


def test_a_dead_process_of_this_machine_holds_nothing(tmp_path):
    # Not waited for: a process that is dead and still in the table has ended as well.
    process = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.read()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    lock = tmp_path / "x.lock"
    lock.write_text(f"{process.pid}:{HOST}")

    assert taken(tmp_path, clock_at(lock, 0)) == f"{os.getpid()}:{HOST}"
    process.communicate()


def test_a_lock_that_somebody_took_over_is_not_removed(tmp_path):
    with dotlock(opened(tmp_path), "x"):
        (tmp_path / "x.lock").unlink()
        (tmp_path / "x.lock").write_text("another's")

    assert (tmp_path / "x.lock").read_text() == "another's"


def test_a_link_in_its_place_is_not_followed(tmp_path):
    (tmp_path / "x.lock").symlink_to(tmp_path / "treasure")
    (tmp_path / "treasure").write_text("x")

    with pytest.raises(Locked):
        taken(tmp_path, clock_at(tmp_path / "treasure", 0), wait_s=0)

    assert (tmp_path / "treasure").read_text() == "x"
