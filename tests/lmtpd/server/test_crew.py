"""Threads that serve one job after another."""

import queue
import threading

import pytest

from lmtpd.server import crew as crew_module
from lmtpd.server.crew import STACK_OCTETS, Crew
from tests.support.polling import wait_for


@pytest.fixture
def crew():
    before = threading.stack_size()
    yield Crew()
    threading.stack_size(before)


def test_each_job_runs_at_once_however_many_there_are(crew):
    running = threading.Barrier(31)

    for _ in range(30):
        crew.start(running.wait)

    running.wait(10)


def test_an_idle_thread_is_used_again(crew):
    workers: queue.SimpleQueue[int] = queue.SimpleQueue()

    for _ in range(5):
        crew.start(lambda: workers.put(threading.get_ident()))
        first = workers.get(timeout=10)
        wait_for(lambda: crew._idle == 1, "its return")

        crew.start(lambda: workers.put(threading.get_ident()))
        assert workers.get(timeout=10) == first
        wait_for(lambda: crew._idle == 1, "its return")


def test_nobody_waits_behind_a_busy_thread(crew):
    busy, done = threading.Event(), threading.Event()
    crew.start(lambda: busy.wait(10))
    crew.start(done.set)

    assert done.wait(10)
    busy.set()


def test_idle_threads_leave_after_a_while(crew, monkeypatch):
    monkeypatch.setattr(crew_module, "IDLE_S", 0.01)
    before = set(threading.enumerate())

    crew.start(lambda: None)

    wait_for(lambda: not set(threading.enumerate()) - before, "the end of the thread")
    assert crew._idle == 0


def test_a_job_promised_in_the_moment_of_leaving_is_done(crew, monkeypatch):
    done = threading.Event()

    class Late:
        """Times out in the very moment in which a job is promised."""

        def __init__(self, jobs):
            self._jobs = jobs
            self.put = jobs.put

        def get(self, timeout=None):
            if timeout is not None:
                monkeypatch.setattr(crew, "_jobs", self._jobs)
                crew.start(done.set)
                raise queue.Empty
            return self._jobs.get()

    monkeypatch.setattr(crew, "_jobs", Late(crew._jobs))

    crew.start(lambda: None)

    assert done.wait(10)


def test_a_job_is_forgotten_when_it_is_done(crew):
    class Job:
        gone = threading.Event()

        def __call__(self) -> None:
            pass

        def __del__(self) -> None:
            self.gone.set()

    crew.start(Job())
    assert Job.gone.wait(10)
    Job.gone.clear()
    wait_for(lambda: crew._idle == 1, "its return")
    crew.start(Job())

    assert Job.gone.wait(10)


def test_stacks_are_small(crew):
    sizes = []
    done = threading.Event()

    crew.start(lambda: sizes.append(threading.stack_size()))
    crew.start(done.set)

    assert done.wait(10)
    wait_for(lambda: sizes == [STACK_OCTETS], "the size")


def test_no_thread_is_an_error_of_the_caller(crew, monkeypatch):
    def refuse(_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)

    with pytest.raises(RuntimeError):
        crew.start(lambda: None)
