"""What a worker does beside the deliveries: write down what the ledger was told, forget what is old.

Nothing waits for it. Without load nobody else would write down a confirmation, and an identical message
sent on purpose to another worker would find the first one in flight.
"""

import threading
import time
from collections.abc import Callable

from lmtpd.report.records import Level
from lmtpd.report.reporter import Reporter
from storage.history import History, HistoryError
from storage.ledger import Ledger, LedgerError

FLUSH_S = 0.1
BURY_S = 60.0  # how long the files of a worker that died may lie in a mailbox that another keeps open
PRUNE_S = 3600.0
BOUND_S = 60.0  # how long the history may grow over its bound, at a few hundred rows a second
EVENTS_UNTAKEN = 1_000_000  # some 500 MB, while the process that sends them cannot take them over
RECORDS_KEPT_S = 7 * 86_400  # Postfix tries for 5 days (maximal_queue_lifetime)


class DeadTokens:
    """The marks in file names of this server's dead processes: what bears one in tmp/ can go."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._tokens: frozenset[str] = frozenset()

    def __call__(self) -> frozenset[str]:
        """Return the marks as they were when last looked for."""
        return self._tokens

    def look(self) -> bool:
        """Look who has died; tell whether there is anybody new. Raises LedgerError."""
        before, self._tokens = self._tokens, self._ledger.dead_tokens()
        return not self._tokens <= before


class Housekeeper:
    """One thread, started after the fork."""

    def __init__(
        self,
        ledger: Ledger,
        history: History,
        *,
        history_days: int,
        reporter: Reporter,
        bury: Callable[[], None] = lambda: None,
    ) -> None:
        """bury is called every BURY_S, to look for what dead processes have left; may raise LedgerError."""
        self._ledger = ledger
        self._bury = bury
        self._history = history
        self._history_days = history_days
        self._reporter = reporter
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="housekeeping", daemon=True)
        self._failing = False

    def start(self) -> None:
        """Begin; old records are pruned first."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        prune_at = time.monotonic()
        bound_at = prune_at
        bury_at = prune_at + BURY_S
        while not self._stop.wait(FLUSH_S):
            try:
                self._ledger.flush()
                if time.monotonic() >= bury_at:
                    bury_at = time.monotonic() + BURY_S
                    self._bury()
                if time.monotonic() >= prune_at:
                    prune_at = time.monotonic() + PRUNE_S
                    self._ledger.prune(RECORDS_KEPT_S)
                if time.monotonic() >= bound_at:
                    bound_at = time.monotonic() + BOUND_S
                    self._history.prune(self._history_days)
                    if count := self._ledger.bound_events(EVENTS_UNTAKEN):
                        self._reporter.event(Level.ERROR, "events_dropped", count=count, reason="untaken")
            except (LedgerError, HistoryError) as exc:
                self._alarm(exc)
            except Exception as exc:  # noqa: BLE001 a bug here must not end the thread
                self._reporter.bug(exc, task="housekeeping")
            else:
                self._failing = False

    def _alarm(self, exc: Exception) -> None:
        """Say once that something does not work; deliveries say what it means for them."""
        if not self._failing:
            self._failing = True
            self._reporter.event(Level.ALERT, "housekeeping_failed", error=str(exc))
