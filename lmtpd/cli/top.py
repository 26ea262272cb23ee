"""`lmtpd top`: a running server's figures, live."""

import os
import time
from collections import deque
from collections.abc import Iterable
from typing import Protocol

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from lmtpd.cli.health import Health, complaints
from lmtpd.cli.options import Settings, takes_settings
from lmtpd.cli.readings import Reading, quantile, read
from lmtpd.cli.status import OUTCOMES, duration, octets
from lmtpd.config import Config
from lmtpd.report.metrics import PHASES

MEMORY = 60  # readings that the plots show
_BARS = " ▁▂▃▄▅▆▇█"
_STYLES = {
    "delivered": "green",
    "recognised": "cyan",
    "deferred": "yellow",
    "refused": "magenta",
    "dropped": "red",
}
_COLOURS = {Health.OK: "green", Health.WARNING: "yellow", Health.CRITICAL: "bold red"}


@click.command()
@takes_settings
@click.option("--interval", metavar="SECONDS", default=1.0, type=click.FloatRange(0.05), help="[1]")
@click.option(
    "--count", metavar="N", type=click.IntRange(1), help="Stop after so many; default: Ctrl-C does."
)
def top(settings: Settings, *, interval: float, count: int | None) -> int:
    """Show what a running server does, live: rates, phases, workers, with small plots.

    \b
    Example:
      lmtpd top --config /etc/lmtpd/lmtpd.toml --interval 2
    """
    config = settings.load()
    console = Console()
    window = Window(read(config))
    with Live(window.picture(), console=console, auto_refresh=False, screen=console.is_terminal) as live:
        try:
            _watch(config, window, live, interval=interval, count=count)
        except KeyboardInterrupt:
            pass
    return os.EX_OK


class Canvas(Protocol):
    """Where pictures go."""

    def update(self, renderable: RenderableType, *, refresh: bool = False) -> None:
        """Show a picture."""


def _watch(config: Config, window: "Window", live: Canvas, *, interval: float, count: int | None) -> None:
    seen = 0
    while count is None or seen < count:
        time.sleep(interval)
        window.add(read(config))
        live.update(window.picture(), refresh=True)
        seen += 1


class Window:
    """The latest readings, and the picture of them."""

    def __init__(self, first: Reading) -> None:
        self._readings: deque[Reading] = deque([first], maxlen=MEMORY + 1)

    def add(self, reading: Reading) -> None:
        """Take in another reading."""
        self._readings.append(reading)

    def rates(self, name: str, **labels: str) -> list[float]:
        """Return how much a counter grew each second, between each two readings."""
        pairs = list(zip(self._readings, list(self._readings)[1:], strict=False))
        return [
            # A counter that fell is one of a server that was started anew.
            max(0.0, new.total(name, **labels) - old.total(name, **labels)) / max(new.at - old.at, 1e-3)
            for old, new in pairs
        ]

    def picture(self) -> RenderableType:
        """Draw."""
        return Group(self._head(), self._outcomes(), self._phases(), self._workers())

    def _head(self) -> RenderableType:
        now = self._readings[-1]
        found = list(complaints(now))
        text = Text()
        for complaint in found or ():
            text.append(f"{complaint.text}\n", style=_COLOURS[complaint.health])
        if not found:
            text.append("nothing is wrong\n", style=_COLOURS[Health.OK])
        text.append(
            f"up {duration(now.at - now.total('start_timestamp_seconds'))}"
            f" · {now.total('connections'):.0f} of {now.total('connections_limit'):.0f} connections"
            f" · {now.total('ledger_records'):.0f} records in the ledger"
            f" · {octets(min(now.by('free_octets', 'place').values(), default=0))} free"
        )
        return Panel(text, title="lmtpd")

    def _outcomes(self) -> RenderableType:
        table = _table("recipients", "each second", "in all", "")
        for outcome in OUTCOMES:
            rates = self.rates("deliveries_total", outcome=outcome)
            total = self._readings[-1].total("deliveries_total", outcome=outcome)
            style = _STYLES[outcome] if total else "dim"
            table.add_row(outcome, _rate(rates), f"{total:,.0f}", plot(rates), style=style)
        flow = self.rates("message_octets_sum")
        in_all = octets(self._readings[-1].total("message_octets_sum"))
        table.add_row("octets", octets(flow[-1] if flow else 0.0), in_all, plot(flow))
        return table

    def _phases(self) -> RenderableType:
        now, before = self._readings[-1], self._readings[0]
        table = _table("phase", "half within ms", "99 % within ms", "mean")
        for phase in PHASES:
            low, high = (
                quantile(now, "phase_seconds", part, since=before, phase=phase) * 1000 for part in (0.5, 0.99)
            )
            seconds = self.rates("phase_seconds_sum", phase=phase)
            counts = self.rates("phase_seconds_count", phase=phase)
            means = [each / count if count else 0.0 for each, count in zip(seconds, counts, strict=True)]
            table.add_row(phase, f"{low:.3g}", f"{high:.3g}", plot(means))
        return table

    def _workers(self) -> RenderableType:
        now = self._readings[-1]
        table = _table("worker", "connections", "processor", "memory")
        for worker in sorted(now.by("connections", "worker"), key=int):
            busy = self.rates("worker_cpu_seconds_total", worker=worker)
            table.add_row(
                worker,
                f"{now.total('connections', worker=worker):.0f}",
                f"{(busy[-1] if busy else 0.0):.0%}",
                octets(now.total("worker_resident_octets", worker=worker)),
            )
        return table


def plot(values: Iterable[float]) -> str:
    """Draw values as bars, the highest of them as high as can be."""
    known = list(values)
    highest = max(known, default=0.0)
    if highest <= 0:
        return _BARS[0] * len(known)
    # What is not nothing shows.
    return "".join(_BARS[max(value > 0, round(value / highest * (len(_BARS) - 1)))] for value in known)


def _rate(rates: list[float]) -> str:
    return f"{rates[-1]:,.1f}" if rates else "-"


def _table(first: str, second: str, third: str, fourth: str) -> Table:
    table = Table(box=None, pad_edge=False, expand=False, padding=(0, 2, 0, 0))
    table.add_column(first, min_width=11)
    table.add_column(second, justify="right", min_width=12)
    table.add_column(third, justify="right", min_width=14)
    table.add_column(fourth, no_wrap=True)
    return table
