"""What a worker does beside the deliveries: write down what the ledger was told, forget what is old.

Nothing waits for it. Without load nobody else would write down a confirmation, and an identical message
sent on purpose to another worker would find the first one in flight.
"""

import threading
import time

from lmtpd.report.records import Level
from lmtpd.report.reporter import Reporter
from storage.history import History, HistoryError
from storage.ledger import Ledger, LedgerError

FLUSH_S = 0.1
PRUNE_S = 3600.0
RECORDS_KEPT_S = 7 * 86_400  # Postfix tries for 5 days (maximal_queue_lifetime)


class Housekeeper:
    """One thread, started after the fork."""

    def __init__(self, ledger: Ledger, history: History, *, history_days: int, reporter: Reporter) -> None:
        self._ledger = ledger
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
        while not self._stop.wait(FLUSH_S):
            try:
                self._ledger.flush()
                if time.monotonic() >= prune_at:
                    prune_at = time.monotonic() + PRUNE_S
                    self._ledger.prune(RECORDS_KEPT_S)
                    self._history.prune(self._history_days)
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
