"""Progress with rate and remaining time, on standard error, and only when that is a terminal."""

import sys
from types import TracebackType
from typing import Protocol, Self

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


class Meter(Protocol):
    """What a run tells about itself."""

    def expect(self, maildirs: int) -> None:
        """So many Maildirs there are in all."""

    def add_messages(self, count: int, share: float = 0.0) -> None:
        """So many messages more were dealt with; share: how much of their Maildir is done, if known."""

    def add_maildir(self) -> None:
        """One Maildir more is done."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Silent:
    """No terminal, no progress."""

    def expect(self, maildirs: int) -> None:
        """Say nothing."""

    def add_messages(self, count: int, share: float = 0.0) -> None:
        """Say nothing."""

    def add_maildir(self) -> None:
        """Say nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


class OnTerminal:
    """A bar that goes away at the end."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("Maildirs"),
            _Rate(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            # What goes to a file or a pipe must not come to the terminal instead.
            redirect_stdout=sys.stdout.isatty(),
        )
        self._task = self._progress.add_task("", total=None, messages=0)
        self._messages = 0
        self._maildirs = self._done = 0

    def expect(self, maildirs: int) -> None:
        """Say how far the bar goes."""
        self._maildirs = maildirs
        self._progress.update(self._task, total=maildirs)

    def add_messages(self, count: int, share: float = 0.0) -> None:
        """Count messages: the rate is theirs. The only Maildir moves the bar as it goes."""
        self._messages += count
        self._progress.update(self._task, messages=self._messages)
        if share and self._maildirs == 1:
            self._progress.update(self._task, completed=min(share, 1.0))

    def add_maildir(self) -> None:
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
    """Messages, and how many a second."""

    def render(self, task: Task) -> Text:
        messages = task.fields["messages"]
        elapsed_s = task.elapsed or 0
        rate = f", {messages / elapsed_s:,.0f}/s" if elapsed_s > 0 else ""
        return Text(f"{messages:,} messages{rate}")


def meter() -> Meter:
    """Make the meter that fits standard error."""
    return OnTerminal(Console(stderr=True)) if sys.stderr.isatty() else Silent()
