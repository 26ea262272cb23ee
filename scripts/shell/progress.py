"""Progress with rate and remaining time, on standard error, and only when that is a terminal."""

import sys
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console

from scripts.shell.terminal import OnTerminal


class Meter(Protocol):
    """What a run tells about itself."""

    def expect(self, units: int) -> None:
        """So many Maildirs, say, there are in all."""

    def add(self, items: int, share: float = 0.0) -> None:
        """So many messages, say, were dealt with; share: how much of their unit is done, if known."""

    def advance(self) -> None:
        """One unit more is done."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Silent:
    """No terminal, no progress."""

    def expect(self, units: int) -> None:
        """Say nothing."""

    def add(self, items: int, share: float = 0.0) -> None:
        """Say nothing."""

    def advance(self) -> None:
        """Say nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


def meter(*, units: str = "Maildirs", items: str = "messages") -> Meter:
    """Make the meter that fits standard error."""
    if not sys.stderr.isatty():
        return Silent()
    return OnTerminal(Console(stderr=True, soft_wrap=True), units=units, items=items)
