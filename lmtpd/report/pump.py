"""A bounded queue and the thread that empties it in batches, so that telling never delays doing.

The rule: `put` takes a lock for a few instructions and no longer, whatever the state of the consumer.  What a
stuck consumer cannot take is dropped, oldest first, and counted.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Generic, TypeVar

Item = TypeVar("Item")

GATHER_S = 0.05  # arrivals gather this long, so that a batch is worth its system call
RETRY_S = 1.0
CLOSE_S = 2.0  # for what is queued at the end; a server drains within 10 s
BATCH_ITEMS = 500
CAPACITY_ITEMS = 10_000  # some 15 MB of reports; seconds of full load


class Pump(Generic[Item]):
    """Hand items to `perform` in batches, in order, on a thread of its own.

    perform returns how many of the batch, from its beginning, are done; the others come again after RETRY_S.
    It must not raise.
    """

    def __init__(
        self,
        name: str,
        perform: Callable[[Sequence[Item]], int],
        *,
        capacity: int = CAPACITY_ITEMS,
        gather_s: float = GATHER_S,
        retry_s: float = RETRY_S,
    ) -> None:
        self.dropped = 0
        self._perform = perform
        self._capacity = capacity
        self._gather_s = gather_s
        self._retry_s = retry_s
        self._queue: deque[Item] = deque()
        self._lock = threading.Lock()
        self._wake = threading.Event()  # there is something to do
        self._hurry = threading.Event()  # it shall be done now
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def put(self, item: Item) -> None:
        """Queue an item.  Any thread; never blocks."""
        with self._lock:
            if len(self._queue) >= self._capacity:
                self._queue.popleft()
                self.dropped += 1
            self._queue.append(item)
        if not self._wake.is_set():
            self._wake.set()

    def hurry(self) -> None:
        """Have what is queued performed now instead of within GATHER_S."""
        self._hurry.set()

    def start(self) -> None:
        """Start the thread.  After the fork: threads do not survive it."""
        self._thread.start()

    def close(self, *, patience_s: float) -> int:
        """Perform what is queued and end the thread; return how many items were left undone."""
        self._closing.set()
        self._hurry.set()
        self._wake.set()
        self._thread.join(patience_s)
        with self._lock:
            return len(self._queue)

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._hurry.wait(self._gather_s)
            # Cleared before the queue is read: whoever puts behind this point sets it again.
            self._wake.clear()
            if not self._closing.is_set():
                self._hurry.clear()
            stuck = self._drain()
            if self._closing.is_set():
                return
            if stuck:
                self._closing.wait(self._retry_s)
                self._wake.set()

    def _drain(self) -> bool:
        """Perform batches until the queue is empty; True: the consumer did not take all of one."""
        while True:
            with self._lock:
                batch = list(islice(self._queue, BATCH_ITEMS))
                dropped = self.dropped
            if not batch:
                return False
            done = self._perform(batch)
            with self._lock:
                # `put` may have dropped from the front what was being performed: it is not lost then.
                saved = min(done, self.dropped - dropped)
                self.dropped -= saved
                for _ in range(done - saved):
                    self._queue.popleft()
            if done < len(batch):
                return True
