"""Child processes: what they inherit, say, hear, and how they end."""

import os
import signal
import socket

import pytest

from lmtpd.server.children import READY, Child, spawn
from tests.support.children import code_of
from tests.support.polling import wait_for


@pytest.fixture
def born():
    """Spawn children; whatever still lives at the end is killed."""
    children: list[Child] = []

    def make(main, inherited=()):
        child = spawn(main, inherited=inherited)
        children.append(child)
        return child

    yield make
    for child in children:
        child.control.close()
        try:
            child.kill()
            os.waitpid(child.pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass


def wait_for_the_end(control: socket.socket) -> int:
    return 0 if control.recv(10) == b"" else 1


def test_a_child_ends_with_the_result_of_its_main(born):
    assert code_of(born(lambda control: 7)) == 7


def test_an_exception_ends_the_child_and_nothing_else(born, capfd):
    def explode(control):
        raise ZeroDivisionError

    assert code_of(born(explode)) == os.EX_SOFTWARE
    assert "ZeroDivisionError" in capfd.readouterr().err


def test_a_killed_child_has_a_negative_code(born):
    child = born(wait_for_the_end)
    assert child.exit_code() is None

    child.kill()

    assert code_of(child) == -signal.SIGKILL


def test_readiness_is_a_word(born):
    def main(control):
        control.send(READY)
        return wait_for_the_end(control)

    child = born(main)
    assert not child.is_ready

    wait_for(child.hear, "a word")

    assert child.is_ready
    assert not child.hear()
    assert not child.is_silent


def test_other_words_are_kept(born):
    def main(control):
        control.send(b"the disk is gone")
        return 1

    child = born(main)

    wait_for(child.hear, "a word")
    wait_for(lambda: not child.hear() and child.is_silent, "the end of its side")

    assert child.last_words == "the disk is gone"
    assert not child.is_ready
    assert code_of(child) == 1


def test_a_child_hears_what_it_is_told(born):
    child = born(lambda control: 0 if control.recv(100) == b"retire" else 1)

    child.tell(b"retire")

    assert code_of(child) == 0


def test_telling_the_dead_is_no_error(born):
    child = born(lambda control: 0)
    wait_for(lambda: not child.hear() and child.is_silent, "its end")

    child.tell(b"retire")
    child.tell(b"drain")


def test_the_end_of_the_parent_s_side_is_heard(born):
    child = born(wait_for_the_end)

    child.control.close()

    assert code_of(child) == 0


def test_a_sibling_does_not_keep_the_parent_s_side_open(born):
    first = born(wait_for_the_end)
    second = born(wait_for_the_end, inherited=[first.control])

    first.control.close()

    assert code_of(first) == 0
    assert second.exit_code() is None


def test_signals_of_the_parent_are_not_the_child_s(born):
    got = []
    before = signal.signal(signal.SIGTERM, lambda *_: got.append(1))
    wake, waker = os.pipe2(os.O_NONBLOCK)
    old = signal.set_wakeup_fd(waker)
    try:

        def main(control):
            handlers = [
                signal.getsignal(number)
                for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
            ]
            mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])
            ignored, default = signal.SIG_IGN, signal.SIG_DFL
            return 0 if handlers == [default, ignored, ignored, default] and signal.SIGTERM not in mask else 1

        assert code_of(born(main)) == 0
        child = born(wait_for_the_end)
        os.kill(child.pid, signal.SIGTERM)
        assert code_of(child) == -signal.SIGTERM
        assert not got
        with pytest.raises(BlockingIOError):
            os.read(wake, 1)
    finally:
        signal.set_wakeup_fd(old)
        signal.signal(signal.SIGTERM, before)
        os.close(wake)
        os.close(waker)


def test_no_process_is_an_error_of_the_caller(monkeypatch):
    def refuse():
        raise BlockingIOError("Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", refuse)
    before = len(os.listdir("/proc/self/fd"))

    with pytest.raises(OSError):
        spawn(wait_for_the_end, inherited=[])

    assert len(os.listdir("/proc/self/fd")) == before
    assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
