"""The history behind the replies: reports go to a sink in batches; one that fails costs reports, not mail."""

from collections.abc import Callable, Sequence
from typing import Protocol

from lmtpd.report.pump import CLOSE_S, Pump
from lmtpd.report.records import Level, RecipientReport


class HistorySink(Protocol):
    """Where reports are kept for `lmtpd trace`."""

    def add(self, reports: Sequence[RecipientReport]) -> None:
        """Keep reports.  Raises whatever it likes: they come again."""


class HistoryWriter:
    """Writes the history behind the replies; says once when that fails and once when it works again."""

    def __init__(
        self, sink: HistorySink, tell: Callable[..., None], *, capacity: int, retry_s: float
    ) -> None:
        self.pump: Pump[RecipientReport] = Pump("history", self._write, capacity=capacity, retry_s=retry_s)
        self._sink = sink
        self._tell = tell
        self._failing = False
        self._stated_dropped = 0

    def close(self) -> None:
        """Write what is queued; say so if some of it cannot be written."""
        if lost := self.pump.close(patience_s=CLOSE_S):
            self._tell(Level.ERROR, "history_lost", count=lost)

    def _write(self, batch: Sequence[RecipientReport]) -> int:
        # The sink is another module with a database behind it: whatever it raises, mail goes on.
        try:
            self._sink.add(batch)
        except Exception as exc:  # noqa: BLE001
            if not self._failing:
                self._failing = True
                self._tell(Level.ALERT, "history_failed", error=f"{type(exc).__name__}: {exc}")
            return 0
        if self._failing:
            self._failing = False
            count, self._stated_dropped = self.pump.dropped - self._stated_dropped, self.pump.dropped
            self._tell(Level.NOTICE, "history_recovered", dropped=count)
        return len(batch)
