"""Connections that are kept between questions."""

from collections.abc import Callable
from contextlib import suppress
from threading import Lock
from typing import Generic, TypeVar

C = TypeVar("C")
T = TypeVar("T")


class ConnectionLost(Exception):
    """The connection is of no use any more; another one may be."""


class Pool(Generic[C]):
    """Idle connections of one source. How many are in use is limited by whoever asks. Thread-safe."""

    def __init__(self, connect: Callable[[], C], close: Callable[[C], object]) -> None:
        """connect may raise whatever the caller of `use` understands; so may close, which is ignored."""
        self._connect = connect
        self._close = close
        self._lock = Lock()
        self._idle: list[C] = []

    def use(self, ask: Callable[[C], T]) -> T:
        """Ask over a connection, which is kept unless ask raises.

        One that was idle may have been closed meanwhile, so after ConnectionLost a fresh one is tried.
        """
        kept = self._take()
        if kept is not None:
            with suppress(ConnectionLost):
                return self._ask(kept, ask)
        return self._ask(self._connect(), ask)

    def close(self) -> None:
        """Close what is idle."""
        while (connection := self._take()) is not None:
            self._discard(connection)

    def _take(self) -> C | None:
        with self._lock:
            return self._idle.pop() if self._idle else None

    def _ask(self, connection: C, ask: Callable[[C], T]) -> T:
        try:
            answer = ask(connection)
        except BaseException:
            self._discard(connection)
            raise
        with self._lock:
            self._idle.append(connection)
        return answer

    def _discard(self, connection: C) -> None:
        with suppress(Exception):  # it is broken already, and nothing was written over it
            self._close(connection)
