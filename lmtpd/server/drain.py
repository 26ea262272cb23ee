"""The end of a worker, as its connections see it: one flag, one deadline, one descriptor that wakes sleepers.

The rule: one thread owns a connection. Nobody else touches its socket; whoever waits for a client also
waits for the descriptor here, which becomes readable, and stays so, when the drain begins.
"""

import math
import os
import time


class Drain:
    """Whether the worker still wants its connections. Written by its main thread, read by all."""

    __slots__ = ("begun", "ends_at", "fd")

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.begun = False
        self.ends_at = math.inf  # of time.monotonic(): until then an open transaction may go on

    def begin(self, within_s: float = math.inf) -> None:
        """Ask idle connections to end now, others at their next rest or after within_s."""
        self.ends_at = min(self.ends_at, time.monotonic() + within_s)
        self.begun = True
        os.eventfd_write(self.fd, 1)

    def close(self) -> None:
        """Give the descriptor back; no connection may be left."""
        os.close(self.fd)
