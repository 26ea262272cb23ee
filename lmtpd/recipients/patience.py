"""A deadline for calls that have none of their own: name services, drivers, servers that stopped.

Python cannot end a thread from outside, so a call that does not come back keeps a thread of its own;
how many may do so at once is limited. Whoever asked goes on at the deadline.
"""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class NoAnswer(Exception):
    """The deadline passed."""


class Patience:
    """Runs calls, a few at a time, and waits for each no longer than wait_s. Any thread may use it."""

    def __init__(self, *, at_once: int, wait_s: float) -> None:
        self._at_once = at_once
        self._wait_s = wait_s
        self._free = threading.BoundedSemaphore(at_once)

    def call(self, task: Callable[[], T]) -> T:
        """Return what task returns, raise what it raises. NoAnswer: it did not come back in time."""
        deadline = time.monotonic() + self._wait_s
        if not self._free.acquire(timeout=self._wait_s):
            raise NoAnswer(f"{self._at_once} questions have been waiting for {self._wait_s:g} s")
        results: list[T] = []
        errors: list[BaseException] = []
        done = threading.Event()

        def run() -> None:
            try:
                results.append(task())
            except BaseException as exc:  # noqa: BLE001 it is raised where it was asked for
                errors.append(exc)
            finally:
                self._free.release()
                done.set()

        try:
            threading.Thread(target=run, name="lookup", daemon=True).start()
        except RuntimeError as exc:  # no more threads: as good as no answer
            self._free.release()
            raise NoAnswer(str(exc)) from exc
        if not done.wait(deadline - time.monotonic()):
            raise NoAnswer(f"no answer within {self._wait_s:g} s")
        if errors:
            raise errors[0]
        return results[0]
