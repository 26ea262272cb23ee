"""The part of the composition root that makes events, and the process that sends them."""

import os
import select
import signal
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from lmtpd.config import Config
from lmtpd.config.events import Events
from lmtpd.delivery.announcing import Announcer
from lmtpd.events.receivers import Command, Receiver, Socket, Webhook
from lmtpd.events.sender import Sender, Subscription
from lmtpd.events.wishes import Wish
from lmtpd.report.gauges import Measured
from lmtpd.report.records import Level
from lmtpd.report.reporter import Reporter
from lmtpd.server.attendants import Main
from lmtpd.server.privileges import act_for_events
from storage.errors import StorageError
from storage.event_backlog import EventBacklog, standings
from storage.ledger import Ledger, LedgerError, Record
from storage.ledger_events import EventsError, HappenedEvents
from storage.maildir import MaildirPath
from storage.maildirs import Maildirs
from storage.server_lock import ServerLock, ServerRunning

LOOK_S = 0.2  # between two looks at what has happened
FIGURES_S = 0.5


def announcer_of(config: Config, ledger: Ledger, reporter: Reporter, *, token: str) -> Announcer | None:
    """Make what writes events; None: nobody asked for any."""
    if not config.events:
        return None
    return Announcer(ledger, [_wish(each) for each in config.events], reporter, token=token)


def settle_events(ledger: Ledger, maildirs: Maildirs, *, reporter: Reporter) -> None:
    """Let the events of copies have happened that dead processes have published and not said so."""
    try:
        published = [record.key for record in ledger.undecided_events() if _holds(maildirs, record)]
        if published:
            ledger.happened(published)
            reporter.event(Level.NOTICE, "events_recovered", count=len(published))
    except LedgerError as exc:
        # They stay with their records: the next start looks again, or the retry finds them.
        reporter.event(Level.ALERT, "ledger_failed", error=str(exc))


def events_of(config: Config) -> Main | None:
    """Return what the events' process runs; None: there are no receivers."""
    if not config.events:
        return None

    def send(control: socket.socket) -> int:
        ended: list[int] = []
        signal.signal(signal.SIGTERM, lambda number, _: ended.append(number))
        if config.acts_as_recipients:
            act_for_events()
        lock = _lock(config.events_path.with_suffix(".sender"), control, ended)
        if lock is not None:
            with lock:
                _sender(config).run(lambda: _goes_on(control, ended))
        return os.EX_OK

    return send


def measured_events(config: Config) -> Iterator[Measured]:
    """Measure what waits for the receivers; what cannot be read is left out."""
    if not config.events:
        return
    with suppress(EventsError):
        untaken = HappenedEvents(config.ledger_path, timeout_s=FIGURES_S).count()
        yield "events_untaken", (), untaken
    with suppress(sqlite3.Error):
        for each in standings(config.events_path, timeout_s=FIGURES_S):
            name = (each.name,)
            yield "events_queued", name, each.queued
            yield "events_queued_octets", name, each.octets
            yield "events_oldest_timestamp_seconds", name, each.oldest_at or 0.0
            yield "events_sent", name, each.sent
            yield "events_failed", name, each.failed
            yield "events_dropped", name, each.dropped
            yield "events_failing", name, float(bool(each.error))


def _holds(maildirs: Maildirs, record: Record) -> bool:
    with suppress(StorageError):
        return maildirs.open(MaildirPath(record.maildir, ()), create=False).holds(record.name)
    return False


def _sender(config: Config) -> Sender:
    return Sender(
        HappenedEvents(config.ledger_path),
        EventBacklog(config.events_path, durable=config.delivery.durability != "none"),
        {each.name: _subscription(config, each) for each in config.events},
        Reporter(config.log.format, config.log.target),
    )


def _subscription(config: Config, each: Events) -> Subscription:
    return Subscription(
        receiver=_receiver(config, each),
        wish=_wish(each),
        batch=each.batch,
        keep_s=each.keep_s,
        keep_octets=each.keep_octets,
    )


def _receiver(config: Config, each: Events) -> Receiver:
    if each.command is not None:
        user = each.user if config.acts_as_recipients else None
        return Command(each.command, timeout_s=each.timeout_s, user=user)
    if each.socket is not None:
        return Socket(each.socket, timeout_s=each.timeout_s)
    assert each.webhook is not None
    token_file = Path(each.token_file) if each.token_file is not None else None
    return Webhook(each.webhook, timeout_s=each.timeout_s, token_file=token_file)


def _wish(each: Events) -> Wish:
    return Wish.of(each.kinds, each.domains, each.recipients)


def _lock(path: Path, control: socket.socket, ended: list[int]) -> ServerLock | None:
    """Wait for an earlier sender to end; None: we are to end ourselves."""
    while True:
        try:
            return ServerLock(path)
        except ServerRunning:
            if not _goes_on(control, ended):
                return None


def _goes_on(control: socket.socket, ended: list[int]) -> bool:
    """Wait for a moment; False if the supervisor has ended, or wants us to."""
    if ended:
        return False
    poll = select.poll()
    poll.register(control, select.POLLIN)
    return not poll.poll(LOOK_S * 1000) and not ended
