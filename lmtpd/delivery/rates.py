"""How many recipients a minute somebody may have: token buckets, in bounded memory.

A bucket holds a minute's worth and fills evenly, so a limit of 60 lets 60 through at once and then one a
second. A full bucket is the same as none; with more than BUCKETS in use the one that has rested longest goes,
which can only let mail through.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock

# Some 2 MB.
BUCKETS = 10_000


class Buckets:
    """The buckets of one kind: by sender, by client, by domain. One per worker; any thread may use it."""

    def __init__(
        self, per_minute: int, *, capacity: int = BUCKETS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_minute = per_minute
        self._per_s = per_minute / 60.0
        self._capacity = capacity
        self._clock = clock
        self._lock = Lock()
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens, and when that was

    @property
    def per_minute(self) -> int:
        """The limit."""
        return self._per_minute

    def take(self, key: str) -> bool:
        """Take a token; False if there is none."""
        with self._lock:
            now = self._clock()
            tokens, then = self._buckets.pop(key, (float(self._per_minute), now))
            tokens = min(float(self._per_minute), tokens + (now - then) * self._per_s)
            is_allowed = tokens >= 1.0
            self._buckets[key] = (tokens - 1.0 if is_allowed else tokens, now)
            if len(self._buckets) > self._capacity:
                self._buckets.popitem(last=False)
            return is_allowed

    def give_back(self, key: str) -> None:
        """Put back the token that was taken last, since nothing came of it."""
        with self._lock:
            if key in self._buckets:
                tokens, then = self._buckets[key]
                self._buckets[key] = (tokens + 1.0, then)
