"""A file system that keeps failing is left alone for a while, instead of being asked for every message.

After `faults` faults in a row, with nothing delivered in between, its *breaker* is open: recipients on it are
answered 4xx at RCPT, and it is not touched. After `pause_s` one recipient is let through as a probe. If it is
delivered, the file system is in use again; else, or if the client goes, the next probe is due a pause later.

One per worker. What one worker learns the others learn by their own faults.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock


@dataclass(frozen=True, slots=True)
class Fault:
    """The fault that opened a breaker."""

    detail: str
    is_full: bool  # no space or no inodes left


class Breaker:
    """Knows file systems by their st_dev. Any thread may call any method."""

    def __init__(
        self,
        faults: int,
        pause_s: float,
        *,
        opened: Callable[[int, Fault], None],
        closed: Callable[[int], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """opened and closed are told when a file system is left alone, and when it is in use again."""
        self._limit = faults
        self._pause_s = pause_s
        self._tell_opened = opened
        self._tell_closed = closed
        self._clock = clock
        self._lock = Lock()  # for changes; as long as all is well nobody takes it
        self._faults: dict[int, int] = {}  # in a row
        self._open: dict[int, tuple[Fault, float]] = {}  # and when the next probe is due

    def why_open(self, device: int) -> Fault | None:
        """Return why the file system must not be touched; None: go on, perhaps as the probe."""
        if device not in self._open:
            return None
        with self._lock:
            fault, probes_at = self._open.get(device, (None, 0.0))
            now = self._clock()
            if fault is None or now < probes_at:
                return fault
            self._open[device] = (fault, now + self._pause_s)  # whoever comes meanwhile waits for the outcome
            return None

    def failed(self, device: int, fault: Fault) -> None:
        """Note a fault of the file system."""
        with self._lock:
            count = self._faults[device] = self._faults.get(device, 0) + 1
            opens = count >= self._limit and device not in self._open
            if count >= self._limit:
                self._open[device] = (fault, self._clock() + self._pause_s)
        if opens:
            self._tell_opened(device, fault)

    def worked(self, device: int) -> None:
        """Note a delivery."""
        if device not in self._faults:
            return
        with self._lock:
            self._faults.pop(device, None)
            was_open = self._open.pop(device, None) is not None
        if was_open:
            self._tell_closed(device)
