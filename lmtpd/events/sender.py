"""The process that sends events: from the ledger into a backlog, and from there to each receiver.

One thread for each receiver, so that one which is slow or dead holds up no other; each gets its events in the
order they happened in, and the next only when it has taken those before. Killed at any moment it goes on
where it was, and may send the last events again.
"""

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lmtpd.events.document import delivered
from lmtpd.events.receivers import NotTaken, Receiver
from lmtpd.events.wishes import Wish
from lmtpd.report.records import Level
from lmtpd.report.reporter import Reporter
from storage.event_backlog import EventBacklog
from storage.ledger_events import EventsError, Happened, HappenedEvents

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 300.0
AT_ONCE = 500  # from the ledger
BOUND_S = 5.0
TOLD_S = 60.0  # between two lines of the log about what was dropped
LEAVE_S = 2.0  # for attempts that are under way when the process is to end


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """A receiver, what it wants, and what is kept for it."""

    receiver: Receiver
    wish: Wish
    batch: int
    keep_s: float
    keep_octets: int


class Sender:
    """run() is for the main thread."""

    def __init__(
        self,
        source: HappenedEvents,
        backlog: EventBacklog,
        subscriptions: Mapping[str, Subscription],
        reporter: Reporter,
        *,
        first_pause_s: float = FIRST_PAUSE_S,
    ) -> None:
        self._source = source
        self._backlog = backlog
        self._subscriptions = subscriptions
        self._reporter = reporter
        self._first_pause_s = first_pause_s
        self._stop = threading.Event()
        self._wakes = {name: threading.Event() for name in subscriptions}
        self._bound_at = 0.0
        self._told_at = 0.0
        self._dropped = dict.fromkeys(subscriptions, 0)
        self._failing = False

    def run(self, wait: Callable[[], bool]) -> None:
        """Send until wait, which is called between two looks at the ledger, returns False."""
        threads = [
            threading.Thread(target=self._serve, args=(name,), name=name, daemon=True)
            for name in self._subscriptions
        ]
        self._attempt(self._begin)
        for thread in threads:
            thread.start()
        while wait():
            self._attempt(self.gather)
            self._attempt(self.bound)
        self._stop.set()
        for wake in self._wakes.values():
            wake.set()
        give_up = time.monotonic() + LEAVE_S
        for thread in threads:
            thread.join(max(0.0, give_up - time.monotonic()))
        for subscription in self._subscriptions.values():
            subscription.receiver.abandon()

    def gather(self) -> None:
        """Take what has happened over from the ledger. EventsError."""
        while found := self._source.look(AT_ONCE):
            events = [self._parsed(each) for each in found]
            queues = [
                (name, wanted)
                for name, subscription in self._subscriptions.items()
                if (wanted := [line for line, kind, about in events if subscription.wish.fits(kind, about)])
            ]
            self._backlog.add(queues)
            self._source.done(found)
            for name, _ in queues:
                self._wakes[name].set()

    def bound(self) -> None:
        """Drop what exceeds the receivers' bounds, and say so once a minute. EventsError."""
        now = time.monotonic()
        if now < self._bound_at:
            return
        self._bound_at = now + BOUND_S
        for name, each in self._subscriptions.items():
            self._dropped[name] += self._backlog.bound(name, keep_s=each.keep_s, keep_octets=each.keep_octets)
        if now >= self._told_at:
            for name, count in self._dropped.items():
                if count:
                    self._told_at = now + TOLD_S
                    self._dropped[name] = 0
                    self._reporter.event(Level.ERROR, "events_dropped", receiver=name, count=count)

    def _begin(self) -> None:
        for name, count in self._backlog.keep_only(list(self._subscriptions)).items():
            if count:
                self._reporter.event(
                    Level.ERROR, "events_dropped", receiver=name, count=count, reason="no such receiver"
                )

    def _parsed(self, each: Happened) -> tuple[str, str, str]:
        """Return an event's line, its kind and whom it is about."""
        line = each.event
        if each.maildir is not None and each.name is not None:
            line = delivered(line, each.maildir, each.name)
        document = json.loads(line)
        return line, document["kind"], document["mailbox"]

    def _attempt(self, step: Callable[[], None]) -> None:
        try:
            step()
        except EventsError as exc:
            if not self._failing:
                self._failing = True
                self._reporter.event(Level.ALERT, "events_failed", error=str(exc))
        except Exception as exc:  # noqa: BLE001 a bug here must not end the process over and over
            self._reporter.bug(exc, task="events")
        else:
            self._failing = False

    # -- one receiver's thread

    def _serve(self, name: str) -> None:
        pause_s = 0.0
        while not self._stop.is_set():
            wake = self._wakes[name]
            wake.clear()
            try:
                pause_s = self._send_next(name, pause_s)
            except EventsError as exc:
                self._reporter.event(Level.ALERT, "events_failed", error=str(exc), receiver=name)
                pause_s = LONGEST_PAUSE_S
            except Exception as exc:  # noqa: BLE001 as above
                self._reporter.bug(exc, task="events", receiver=name)
                pause_s = LONGEST_PAUSE_S
            if pause_s:
                self._stop.wait(pause_s)

    def _send_next(self, name: str, paused_s: float) -> float:
        """Send a batch, or wait for one; return how long to pause."""
        subscription = self._subscriptions[name]
        events = self._backlog.next(name, subscription.batch)
        if not events:
            self._wakes[name].wait()
            return 0.0
        try:
            subscription.receiver.send([each.event for each in events])
        except NotTaken as exc:
            self._backlog.taken(name, events[: exc.taken])
            self._backlog.failed(name, str(exc))
            pause_s = min(max(2 * paused_s, self._first_pause_s), LONGEST_PAUSE_S)
            if not paused_s:
                self._reporter.event(
                    Level.WARNING, "events_not_taken", receiver=name, error=str(exc), again_in_s=pause_s
                )
            return pause_s
        self._backlog.taken(name, events)
        if paused_s:
            self._reporter.event(Level.NOTICE, "events_taken_again", receiver=name)
        return 0.0
