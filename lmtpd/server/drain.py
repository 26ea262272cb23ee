"""The end of a worker, as its connections see it: one flag, one deadline, one descriptor that wakes sleepers.

The rule: one thread owns a connection. Nobody else touches its socket; whoever waits for a client also
waits for the descriptor here, which becomes readable, and stays so, when the drain begins.
"""

import math
import os
import time


class Drain:
    """Whether the worker still wants its connections. Written by its main thread, read by all.

    Idle connections end at once; those that are not, as soon as they are; the rest later. Cutting a client
    between two commands would look to Postfix like a sick destination, which it then avoids for minutes.
    """

    __slots__ = ("begun", "ends_at", "fd", "presses_at")

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.begun = False
        self.presses_at = math.inf  # of time.monotonic(): from then on no client begins a further transaction
        self.ends_at = math.inf  # from then on open transactions are cut

    def begin(self, within_s: float) -> None:
        """Let all connections end within within_s; the shortest time that was given holds."""
        now = time.monotonic()
        self.presses_at = min(self.presses_at, now + within_s / 2)
        self.ends_at = min(self.ends_at, now + within_s)
        self.begun = True
        os.eventfd_write(self.fd, 1)

    def close(self) -> None:
        """Give the descriptor back; no connection may be left."""
        os.close(self.fd)
