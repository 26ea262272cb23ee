"""Threads that share work, one arriving after the other, without waiting for a guessed time."""

import threading
from collections.abc import Callable
from threading import Event, Semaphore, Thread
from typing import Any

import pytest

from storage import grouping
from storage.grouping import GroupedWork

DEADLINE_S = 10


class Door:
    """The lock at which a follower waits; it tells who comes, and may interrupt him."""

    def __init__(self, arrivals: Semaphore, interruption: str) -> None:
        self._arrivals = arrivals
        self._interruption = interruption
        self._lock = threading.Lock()
        self._lock.acquire()
        self._is_new = True

    def acquire(self) -> None:
        if self._is_new:
            self._is_new = False
            return
        self._arrivals.release()
        if self._interruption == "while waiting":
            raise KeyboardInterrupt
        self._lock.acquire()
        if self._interruption == "when called":
            raise KeyboardInterrupt

    def release(self) -> None:
        self._lock.release()


class Scene:
    """Threads that submit to one GroupedWork, whose first turn lasts until the test ends it."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, answer: Callable[[list[Any]], Any] | None = None
    ) -> None:
        self.batches: list[list[Any]] = []
        self.leaders: list[str] = []
        self.outcomes: dict[str, Any] = {}
        self.interruptions: dict[int, str] = {}
        self._answer = answer or (lambda items: [item * 2 for item in items])
        self._first_began = Event()
        self._first_may_end = Event()
        self._arrivals = Semaphore(0)
        self._doors = 0
        self._threads: list[Thread] = []
        self.work: GroupedWork[Any, Any] = GroupedWork(self._perform)
        monkeypatch.setattr(grouping, "Lock", self._door)

    def _door(self) -> Door:
        self._doors += 1
        return Door(self._arrivals, self.interruptions.get(self._doors, ""))

    def _perform(self, items: list[Any]) -> Any:
        self.batches.append(list(items))
        self.leaders.append(threading.current_thread().name)
        if len(self.batches) == 1:
            self._first_began.set()
            assert self._first_may_end.wait(DEADLINE_S)
        return self._answer(items)

    def _submit(self, item: Any) -> None:
        name = threading.current_thread().name
        try:
            self.outcomes[name] = self.work.submit(item)
        except BaseException as exc:  # noqa: BLE001 (what the thread ends with is what the test asks for)
            self.outcomes[name] = exc

    def _start(self, item: Any) -> None:
        thread = Thread(target=self._submit, args=(item,), name=f"t{item}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def begin(self, item: Any = 0) -> None:
        """Let a first thread lead, and stay at work."""
        self._start(item)
        assert self._first_began.wait(DEADLINE_S)

    def join_in(self, *items: Any) -> None:
        """Let other threads submit, one after the other, until each waits."""
        for item in items:
            self._start(item)
            assert self._arrivals.acquire(timeout=DEADLINE_S)

    def end(self) -> None:
        """Let the first turn end, and all threads."""
        self._first_may_end.set()
        for thread in self._threads:
            thread.join(DEADLINE_S)
        assert not [thread for thread in self._threads if thread.is_alive()]
