"""Children of the supervisor that serve no client: they watch the configuration, show metrics, send events.

The rule: mail does not depend on them. One that dies is replaced after a pause, and the log says so.
"""

import math
import signal
import time
from collections.abc import Callable, Iterable
from socket import socket

from lmtpd.config import Config
from lmtpd.server.children import Child, Closable, spawn

# Until one that died, for want of inotify watches, say, is replaced; longer each time.
PAUSE_S = 5.0
LONGEST_PAUSE_S = 600.0

Main = Callable[[socket], int]


class Attendant:
    """One of them, and when it is due."""

    def __init__(
        self,
        name: str,
        prepare: Callable[[Config], Main | None],
        *,
        ended_by: signal.Signals = signal.SIGKILL,
    ) -> None:
        """prepare: from a configuration to what the child runs; None: it has nothing to do."""
        self.name = name
        self._ended_by = ended_by
        self._prepare = prepare
        self._child: Child | None = None
        self._starts_at = 0.0
        self._pause_s = PAUSE_S
        self._is_unwanted = False

    @property
    def children(self) -> list[Child]:
        """Return the process, if it lives or was not yet found dead."""
        return [] if self._child is None else [self._child]

    @property
    def starts_at(self) -> float:
        """The time.monotonic() from which it is wanted."""
        return self._starts_at if self._child is None else math.inf

    def start(self, config: Config, *, inherited: Iterable[Closable]) -> None:
        """Fork it, if it has something to do. OSError if there can be no further process."""
        main = self._prepare(config)
        if main is None:
            self._starts_at = math.inf
            return
        self._starts_at = time.monotonic() + PAUSE_S
        self._child = spawn(main, inherited=inherited)
        self._is_unwanted = False

    def renew(self) -> None:
        """Replace it: there is another configuration."""
        self._starts_at = 0.0
        self._pause_s = PAUSE_S
        self.end()

    def end(self) -> None:
        """End it: at once, unless it has something to leave in order."""
        self._is_unwanted = True
        for child in self.children:
            child.end(self._ended_by)

    def bury(self) -> bool:
        """Forget the process, which has ended; tell whether that was its own idea."""
        child, self._child = self._child, None
        if not self._is_unwanted:
            if child is not None and time.monotonic() - child.born_at > LONGEST_PAUSE_S:
                self._pause_s = PAUSE_S
            self._starts_at = time.monotonic() + self._pause_s
            self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
        return not self._is_unwanted
