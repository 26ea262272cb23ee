"""Does a client that has begun something get on with it?

The limit on silence alone lets a client hold a thread for ever with an octet every few minutes. So what has
begun, a line or a message, must come at a minimum rate, measured over a window as long as that silence: who
is slow for a moment, or has little to send, is not bothered.
"""

import time
from collections.abc import Callable


class Pace:
    """The pace of one client. Confined to its thread."""

    __slots__ = ("_clock", "_min_octets_per_s", "_octets", "_since", "_window_s")

    def __init__(
        self, min_octets_per_s: float, window_s: float, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._min_octets_per_s = min_octets_per_s
        self._window_s = window_s
        self._clock = clock
        self._since = 0.0  # when the window began; 0: nothing has begun
        self._octets = 0

    def rest(self) -> None:
        """Nothing is under way."""
        self._since = 0.0

    def add(self, octets: int) -> None:
        """So many have come."""
        self._octets += octets

    def why_too_slow(self) -> str:
        """Say what was too slow about the window that has ended, "" if it goes on or was fast enough."""
        now = self._clock()
        if self._since:
            elapsed_s = now - self._since
            if elapsed_s < self._window_s:
                return ""
            if self._octets < self._min_octets_per_s * elapsed_s:
                return f"{self._octets} octets in {elapsed_s:.0f} s"
        self._since, self._octets = now, 0
        return ""
