"""The threads of one file system: they take what has gathered, and deal with it together.

There is no timer: what comes alone is dealt with alone, at once.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Generic, TypeVar

T = TypeVar("T")


class Committer(Generic[T]):
    """Any thread may use it."""

    def __init__(self, deal_with: Callable[[Sequence[T]], None], *, threads: int, at_most: int) -> None:
        """deal_with must not raise. RuntimeError or MemoryError if not even one thread can be had."""
        self._deal_with = deal_with
        self._threads = threads
        self._at_most = at_most
        self._queue: SimpleQueue[T | None] = SimpleQueue()
        for number in range(threads):
            try:
                # A daemon: a worker at the end of its drain does not wait for a disk that does not answer.
                Thread(target=self._run, name="committer", daemon=True).start()
            except (RuntimeError, MemoryError):
                if number == 0:
                    raise
                return

    def put(self, item: T) -> None:
        """Have item dealt with in the next turn."""
        self._queue.put(item)

    def close(self) -> None:
        """End the threads behind what is queued."""
        for _ in range(self._threads):
            self._queue.put(None)

    def _run(self) -> None:
        while batch := self._next_batch():
            self._deal_with(batch)
            del batch  # with its bodies and open directories, while there is nothing to do

    def _next_batch(self) -> list[T]:
        """Wait for an item, and take what has gathered; nothing at the end."""
        batch: list[T] = []
        with suppress(Empty):
            while len(batch) < self._at_most:
                item = self._queue.get(block=not batch)
                if item is None:
                    if batch:
                        self._queue.put(None)
                    break
                batch.append(item)
        return batch
