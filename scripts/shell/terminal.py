"""A bar on the terminal, with rate and remaining time."""

import sys
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text


class OnTerminal:
    """A bar that goes away at the end."""

    def __init__(self, console: Console, *, units: str, items: str) -> None:
        """units: what the bar counts; items: what is in them, and gives the rate."""
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(units),
            _Rate(items),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            # What goes to a file or a pipe must not come to the terminal instead.
            redirect_stdout=sys.stdout.isatty(),
        )
        self._task = self._progress.add_task("", total=None, items=0)
        self._items = 0
        self._units = self._done = 0

    def expect(self, units: int) -> None:
        """Say how far the bar goes."""
        self._units = units
        self._progress.update(self._task, total=units)

    def add(self, items: int, share: float = 0.0) -> None:
        """Count what gives the rate. The only unit moves the bar as it goes."""
        self._items += items
        self._progress.update(self._task, items=self._items)
        if share and self._units == 1:
            self._progress.update(self._task, completed=min(share, 1.0))

    def advance(self) -> None:
        """Move the bar."""
        self._done += 1
        self._progress.update(self._task, completed=self._done)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()


class _Rate(ProgressColumn):
    """So many, and how many a second."""

    def __init__(self, items: str) -> None:
        super().__init__()
        self._what = items

    def render(self, task: Task) -> Text:
        items = task.fields["items"]
        elapsed_s = task.elapsed or 0
        rate = f", {items / elapsed_s:,.0f}/s" if elapsed_s > 0 else ""
        return Text(f"{items:,} {self._what}{rate}")
