"""Who is at work in a mailbox at this moment: so that one that does not answer holds few threads.

A call that hangs (a dead NFS server, a disk that tries again for minutes) cannot be ended from outside. What
can be done is to send no further thread after it. A mailbox is *stuck* when as many threads are at work in it
as the limit allows, and the one that has been longest has been for `slow_s`: many deliveries at once into a
mailbox that answers are over in milliseconds, and are nothing to turn mail away for.

Only the time of the calls counts, not that of a client that sends slowly. Nothing here waits.
"""

import threading
import time
from collections.abc import Callable, Hashable
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from weakref import WeakValueDictionary

AtWork = AbstractContextManager[None]
UNWATCHED: AtWork = nullcontext()


class Slot:
    """The threads at work in one mailbox: `with slot:` around every call into it."""

    __slots__ = ("__weakref__", "_clock", "_since")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        # By thread. Single steps on a dict are atomic, so nothing on the way into a mailbox needs a lock.
        self._since: dict[int, float] = {}

    def __enter__(self) -> None:
        self._since[threading.get_ident()] = self._clock()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._since.pop(threading.get_ident(), None)

    @property
    def at_work(self) -> int:
        """How many threads are at work."""
        return len(self._since)

    def slowest_s(self) -> float:
        """How long the one has been that has been longest; 0 if nobody is at work."""
        since = list(self._since.values())
        return self._clock() - min(since) if since else 0.0


class Slots:
    """The slots of a worker, each for as long as somebody has it. Any thread may use it."""

    def __init__(
        self, concurrency: int, slow_s: float, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """concurrency: threads in one mailbox from which on it counts as stuck if the first is slow."""
        self._concurrency = concurrency
        self._slow_s = slow_s
        self._clock = clock
        self._lock = threading.Lock()
        self._slots: WeakValueDictionary[Hashable, Slot] = WeakValueDictionary()

    def of(self, key: Hashable) -> Slot:
        """Return the slot of a mailbox, or of an address while it is looked up."""
        with self._lock:
            slot = self._slots.get(key)
            if slot is None:
                slot = self._slots[key] = Slot(self._clock)
            return slot

    def why_stuck(self, slot: Slot) -> str:
        """Say why nobody else should go in; "" if there is no reason."""
        at_work = slot.at_work
        if at_work < self._concurrency or (slowest_s := slot.slowest_s()) < self._slow_s:
            return ""
        return f"{at_work} deliveries are at work in it, the slowest for {slowest_s:.1f} s"
