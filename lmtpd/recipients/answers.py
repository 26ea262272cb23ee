"""Answers remembered for a while: a limited number of them, "no such user" for a shorter time."""

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from threading import Lock

from lmtpd.recipients.entry import Entry


@dataclass(frozen=True, slots=True)
class Kept:
    """A remembered answer; entry None: there is no such user."""

    entry: Entry | None
    until: float


class Answers:
    """The memory of one source. Any thread may use it; failures are never put in."""

    def __init__(
        self,
        *,
        entries: int,
        known_s: float,
        unknown_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """entries: how many at most; known_s, unknown_s: for how long."""
        self._entries = entries
        self._known_s = known_s
        self._unknown_s = unknown_s
        self._clock = clock
        self._lock = Lock()
        self._kept: OrderedDict[Hashable, Kept] = OrderedDict()  # the oldest first

    def get(self, key: Hashable) -> Kept | None:
        """Return the answer if it is there and not too old."""
        kept = self._kept.get(key)
        return kept if kept is not None and self._clock() < kept.until else None

    def put(self, key: Hashable, entry: Entry | None) -> None:
        """Remember an answer; the oldest goes when there are too many."""
        keep_s = self._unknown_s if entry is None else self._known_s
        if keep_s <= 0 or self._entries <= 0:
            return
        kept = Kept(entry, self._clock() + keep_s)
        with self._lock:
            self._kept[key] = kept
            self._kept.move_to_end(key)
            if len(self._kept) > self._entries:
                self._kept.popitem(last=False)
