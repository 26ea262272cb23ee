"""All figures of a running server, put together when somebody asks."""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import chain

from lmtpd import __version__
from lmtpd.config import Config
from lmtpd.delivery.outcomes import Cause
from lmtpd.report import gauges
from lmtpd.report.gauges import Measured
from lmtpd.report.metrics import Figures, Histograms, Labels, collected
from lmtpd.server.board import Board

# Shown as 0 before they happen: Prometheus does not see the first step of a counter that was not there.
_FINAL = {Cause.TOO_LARGE, Cause.LOOP}
_EXPECTED: tuple[tuple[str, Labels], ...] = (
    ("deliveries", ("delivered", "2xx", "")),
    ("deliveries", ("recognised", "2xx", "")),
    ("deliveries", ("refused", "5xx", "unknown")),
    ("deliveries", ("deferred", "4xx", "lookup")),
    ("deliveries", ("dropped", "", Cause.CLIENT_GONE.value)),
    *(("deliveries", ("deferred", "4xx", cause.value)) for cause in Cause if cause not in _FINAL),
    *(("deliveries", ("refused", "5xx", cause.value)) for cause in Cause if cause in _FINAL),
    *(("aborts", (phase,)) for phase in ("receive", "barrier", "reply")),
    *(("events", (event, "error")) for event in ("worker_died", "reload_failed", "bug")),
)


class FigureSource:
    """Reads the board, the tally and the machine.  Lives in the process that shows them."""

    def __init__(
        self, config: Config, board: Board, *, more: Callable[[], Iterable[Measured]] = lambda: ()
    ) -> None:
        """more: what somebody else measures."""
        self._config = config
        self._board = board
        self._more = more
        self._loaded_at = time.time()
        self._started_at = gauges.born_at(os.getppid())

    def collect(self) -> tuple[Figures, Histograms]:
        """Return figures and histograms as they are now."""
        sheets = self._board.tally.read()
        figures, histograms = collected(chain.from_iterable(sheet.items() for sheet in sheets))
        for name, labels in _EXPECTED:
            figures.setdefault(name, {}).setdefault(labels, 0.0)
        measured = [
            self._configured(),
            self._workers(),
            gauges.of_ledger(self._config.ledger_path),
            gauges.of_history(self._config.history_path),
            gauges.of_file_system("state", self._config.state),
            self._more(),
        ]
        if self._config.mailboxes.path is not None:
            measured.append(gauges.of_file_system("mailboxes", self._config.mailboxes.path.root))
        for name, labels, value in chain.from_iterable(measured):
            figures.setdefault(name, {})[labels] = value
        return figures, histograms

    def _configured(self) -> Iterator[Measured]:
        config = self._config
        yield "connections_limit", (), config.server.connections
        yield "workers_wanted", (), config.server.workers
        yield "load_timestamp_seconds", (), self._loaded_at
        yield "start_timestamp_seconds", (), self._started_at
        yield "info", (__version__, config.delivery.commit, config.delivery.durability), 1

    def _workers(self) -> Iterator[Measured]:
        seats = self._board.seats()
        yield "workers", (), sum(seat.is_open for seat in seats)
        for number, seat in enumerate(seats):
            worker = str(number)
            yield "connections_accepted", (worker,), seat.accepted
            if seat.pid:
                yield "connections", (worker,), seat.connections
                yield from gauges.of_process(worker, seat.pid)
