"""The one door for everything observable.

A process makes a Reporter before anything can go wrong, and starts it after the fork.  `recipient` is on
the hot path: it leaves counting, formatting and writing to a thread.  A log that nobody reads, or a history
that cannot be written, delays nothing: the oldest reports are dropped, and the log says how many.
"""

import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from lmtpd.report.counting import Counts
from lmtpd.report.formats import (
    Fields,
    escaped,
    json_line,
    prefixed,
    report_fields,
    text_line,
    untimed_text_line,
)
from lmtpd.report.history import HistorySink, HistoryWriter
from lmtpd.report.output import LineOutput
from lmtpd.report.pump import CAPACITY_ITEMS, CLOSE_S, RETRY_S, Pump
from lmtpd.report.records import Level, RecipientReport
from lmtpd.report.tally import Sheet

STDERR = 2
_PATIENCE_S = 0.5  # for one batch of lines into a log that nobody reads

_LEVELS = {
    "delivered": Level.INFO,
    "recognised": Level.INFO,
    "deferred": Level.WARNING,
    "refused": Level.NOTICE,
    "dropped": Level.NOTICE,
}


@dataclass(frozen=True, slots=True)
class Event:
    """Something rare."""

    at: float
    level: Level
    name: str
    fields: Mapping[str, object]
    traceback: str = ""


class Reporter:
    """Log, counters and history of one process.  Safe for all its threads."""

    def __init__(
        self,
        log_format: Literal["text", "json"] = "text",
        target: Literal["stderr", "journal"] = "stderr",
        *,
        fd: int = STDERR,
        clock: Callable[[], float] = time.time,
        capacity: int = CAPACITY_ITEMS,
        retry_s: float = RETRY_S,
    ) -> None:
        self._in_journal = target == "journal"
        self._in_json = log_format == "json"
        self._line = json_line if self._in_json else untimed_text_line if self._in_journal else text_line
        self._clock = clock
        self._output = LineOutput(fd)
        self._capacity = capacity
        self._retry_s = retry_s
        self._counts = Counts()
        self._counting = threading.Lock()  # never taken by a thread that delivers, but for rare things
        self._uncounted: deque[RecipientReport] = deque()
        self._counted_dropped = [0, 0]  # lines, rows
        self._lines: Pump[RecipientReport | Event] | None = None
        self._history: HistoryWriter | None = None
        self._stated_dropped_lines = 0

    def start(self, history: HistorySink | None = None) -> None:
        """Start the threads that write; from here on nothing waits for the log.  After the fork."""
        self._lines = Pump("log", self._write, capacity=self._capacity, retry_s=self._retry_s)
        self._lines.start()
        if history is not None:
            self._history = HistoryWriter(history, self.event, capacity=self._capacity, retry_s=self._retry_s)
            self._history.pump.start()

    def close(self) -> None:
        """Write what is queued, within a few seconds, and end the threads.  Any number of times."""
        history, self._history = self._history, None
        if history is not None:
            history.close()
        lines, self._lines = self._lines, None
        if lines is not None:
            lines.close(patience_s=CLOSE_S)
        self._count_arrived()

    def count_on(self, sheet: Sheet) -> None:
        """Count where the server's other processes see it.  Once, at the start."""
        with self._counting:
            self._counts.move_to(sheet)

    def recipient(self, report: RecipientReport) -> None:
        """Tell what became of one recipient.  Never raises, never waits for the log or the disk."""
        self._uncounted.append(report)  # one step for the interpreter: no lock
        if self._lines is None:
            self._write([report])
        else:
            self._lines.put(report)
        if self._history is not None:
            self._history.pump.put(report)

    def event(self, level: Level, name: str, **fields: object) -> None:
        """Tell something rare: a start, a reload, an alarm.  Never raises."""
        self._tell(Event(self._clock(), level, name, fields))

    def bug(self, exc: BaseException, **fields: object) -> None:
        """Tell an error of ours, with its traceback.  Never raises."""
        text = "".join(traceback.format_exception(exc))
        fields = {"error": f"{type(exc).__name__}: {exc}", **fields}
        self._tell(Event(self._clock(), Level.ERROR, "bug", fields, text))

    def count(self, name: str, *labels: str) -> None:
        """Count what has no line in the log: a metric of lmtpd.report.metrics, and its labels.

        Takes a lock, so it is for what is rare.  A recipient's cause needs none of this: reports are counted.
        """
        with self._counting:
            self._counts.add(name, *labels)

    def counts(self) -> dict[tuple[str, str], int]:
        """Recipients so far by (outcome, cause)."""
        self._count_arrived()
        with self._counting:
            return self._counts.outcomes()

    @property
    def dropped_lines(self) -> int:
        """Log lines that nobody took in time."""
        return self._lines.dropped if self._lines else 0

    @property
    def dropped_rows(self) -> int:
        """Reports that the history could not take."""
        return self._history.pump.dropped if self._history else 0

    def _count_arrived(self) -> None:
        """Count each report once, whatever the log or the history can take."""
        with self._counting:
            while self._uncounted:
                try:
                    self._counts.report(self._uncounted.popleft())
                except Exception:  # noqa: BLE001 a bug in here must not stop the log
                    self._counts.add("events", "bug", "error")
            for place, (name, dropped) in enumerate(
                (("log_lines_dropped", self.dropped_lines), ("history_rows_dropped", self.dropped_rows))
            ):
                if dropped > self._counted_dropped[place]:
                    self._counts.add(name, amount=dropped - self._counted_dropped[place])
                    self._counted_dropped[place] = dropped

    def _tell(self, event: Event) -> None:
        with self._counting:
            self._counts.event(event.name, event.level)
        lines = self._lines
        if lines is None:
            self._write([event])
        else:
            lines.put(event)
            lines.hurry()

    def _write(self, batch: Sequence[RecipientReport | Event]) -> int:
        """Write a line for each; return how many are done."""
        self._count_arrived()
        lines = [self._rendered(item) for item in batch]
        left = self._output.write(lines, patience_s=_PATIENCE_S)
        if not left:
            self._state_dropped_lines()
        return len(batch) - left

    def _rendered(self, item: RecipientReport | Event) -> bytes:
        # The guard for bugs in here: one unprintable report must not stop the log of all others.
        try:
            lines, level = self._lines_of(item)
        except Exception as exc:  # noqa: BLE001
            lines, level = [f"bug error={type(exc).__name__} in=report"], Level.ERROR
        if self._in_journal:
            lines = [prefixed(line, level) for line in lines]
        return "".join(f"{line}\n" for line in lines).encode(errors="backslashreplace")

    def _lines_of(self, item: RecipientReport | Event) -> tuple[list[str], Level]:
        if isinstance(item, RecipientReport):
            return [self._line(item.at, item.outcome, report_fields(item))], _LEVELS[item.outcome]
        fields: Fields = [("level", item.level.name.lower()), *item.fields.items()]
        if self._in_json:
            fields = [*fields, ("traceback", item.traceback)]
        lines = [self._line(item.at, item.name, fields)]
        if not self._in_json:
            lines += [f"  | {escaped(line)}" for line in item.traceback.splitlines()]
        return lines, item.level

    def _state_dropped_lines(self) -> None:
        dropped = self.dropped_lines
        if dropped > self._stated_dropped_lines:
            count, self._stated_dropped_lines = dropped - self._stated_dropped_lines, dropped
            self.event(Level.ERROR, "log_lines_dropped", count=count)
