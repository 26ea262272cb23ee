"""The first process: sockets, workers, signals. Long because one loop decides between all that is under way.

The rule: one thread, and no open ledger or observer, for it forks as long as it lives. A signal handler only
writes the signal down; everything happens in one loop. Workers come in generations, one for each reload:
the new one listens on the same sockets and is ready before the old one stops accepting. So does the program
that takes over from us in an upgrade.
"""

import math
import os
import select
import signal
import time
from collections.abc import Callable

from lmtpd.config import Config, ConfigError
from lmtpd.report.records import Level
from lmtpd.report.reporter import Reporter
from lmtpd.server.attendants import Attendant, Main
from lmtpd.server.board import Board
from lmtpd.server.children import HANDLED, Child, Closable
from lmtpd.server.errors import CannotStart
from lmtpd.server.exporter import Expose, exporter_of
from lmtpd.server.generation import BuildService, Generation
from lmtpd.server.handover import GO, Handover, received, start_successor, why_not
from lmtpd.server.listeners import open_listeners
from lmtpd.server.startup import become_server, refuse_fixed_keys
from lmtpd.server.systemd import adopt_sockets, notify
from lmtpd.server.tls import tls_context
from lmtpd.server.watcher import watcher_of
from lmtpd.server.worker import DRAIN, RETIRE
from storage.server_lock import ServerLock

KILL_S = 10.0  # from SIGTERM to SIGKILL for workers that are still there
OLD_GENERATIONS = 8  # that may wait for their clients to leave; earlier ones are told to drain


def run(
    config: Config,
    reload: Callable[[], Config],
    *,
    build: BuildService,
    reporter: Reporter,
    expose: Expose,
    send_events: Callable[[Config], Main | None],
) -> int:
    """Serve until SIGTERM or SIGINT; return the exit code. Raises CannotStart.

    reload makes the new configuration after SIGHUP, or raises ConfigError. build makes a worker's service,
    expose what the metrics' process answers; both are called there, after the fork. send_events makes what
    the events' process runs.
    """
    return Supervisor(
        config, reload, build=build, reporter=reporter, expose=expose, send_events=send_events
    ).run()


class Supervisor:
    """The loop, and what it knows."""

    def __init__(
        self,
        config: Config,
        reload: Callable[[], Config],
        *,
        build: BuildService,
        reporter: Reporter,
        expose: Expose,
        send_events: Callable[[Config], Main | None],
    ) -> None:
        self._config = config
        self._reload = reload
        self._build = build
        self._reporter = reporter
        self._board = Board()
        self._attendants = (
            Attendant("watcher", watcher_of),
            Attendant("metrics", lambda config: exporter_of(config, self._board, expose)),
            Attendant("events", send_events, ended_by=signal.SIGTERM),
        )
        self._signals: list[int] = []
        self._wake, self._waker = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._current: Generation | None = None
        self._coming: Generation | None = None
        self._leaving: list[Generation] = []
        self._reload_is_due = False
        self._upgrade_is_due = False
        self._stopping = False
        self._kills_at = math.inf
        self._failure: CannotStart | None = None
        self._successor: Child | None = None  # is being started, and does not serve yet
        self._handover: Handover | None = None  # from our predecessor, which serves until we do
        self._has_handed_over = False
        self._lock: ServerLock | None = None  # kept by the workers, so that none outlives its server unseen

    def run(self) -> int:
        """See run() of this module."""
        self._listen_to_signals()
        self._reporter.count_on(self._board.tally.sheet(0))
        tls = tls_context(self._config.tls)
        handover = self._handover = received(os.environ)
        held = handover.listeners if handover is not None else adopt_sockets(os.environ)
        listeners = open_listeners(self._config.sockets, held=held)
        if handover is not None:
            listeners = handover.wanted(listeners)
        try:
            self._lock = become_server(self._config, lock=handover.lock if handover is not None else None)
        except CannotStart:
            for listening in listeners:
                listening.remove()
            raise
        self._coming = Generation(self._config, listeners, tls)
        with self._lock:
            while not self._stopping or self._children():
                self._tend()
                self._wait()
        if self._failure is not None:
            raise self._failure
        return os.EX_OK

    def _listen_to_signals(self) -> None:
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        for number in HANDLED:
            signal.signal(number, lambda number, _frame: self._signals.append(number))

    # -- the loop

    def _tend(self) -> None:
        """Do what is due: missing workers, the change of generations, the end of stragglers."""
        if self._stopping:
            if time.monotonic() >= self._kills_at:
                self._kills_at = math.inf
                for child in self._children():
                    child.kill()
            return
        for generation in (self._coming, self._current):
            while generation is not None and time.monotonic() >= generation.forks_at:
                self._fork_worker(generation)
        if self._coming is not None and self._coming.is_ready:
            self._promote(self._coming)
        if self._reload_is_due and self._current is not None:
            self._begin_reload(self._current)
        if self._current is not None:
            self._fork_attendants(self._current.config)
            self._tend_upgrade(self._current)

    def _tend_upgrade(self, current: Generation) -> None:
        if self._successor is not None and self._successor.is_ready:
            self._hand_over(self._successor)
        elif self._upgrade_is_due and self._successor is None:
            self._upgrade_is_due = False
            self._begin_upgrade(current)

    def _wait(self) -> None:
        """Sleep until a signal, a child's word or end, or an appointment; then take note of it."""
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        speakers = {child.control.fileno(): child for child in self._children() if not child.is_silent}
        for fd in speakers:
            poll.register(fd, select.POLLIN)
        for fd, _ in poll.poll(self._rest_ms()):
            if fd == self._wake:
                os.read(self._wake, 4096)
            else:
                speakers[fd].hear()
        while self._signals:
            self._obey(self._signals.pop(0))
        for child in self._children():
            if (code := child.exit_code()) is not None:
                self._bury(child, code)

    def _rest_ms(self) -> float | None:
        appointments = [self._kills_at]
        if not self._stopping:
            growing = [each for each in (self._coming, self._current) if each is not None]
            appointments += [generation.forks_at for generation in growing]
            if self._current is not None:
                appointments += [attendant.starts_at for attendant in self._attendants]
        rest_s = min(appointments) - time.monotonic()
        return None if rest_s == math.inf else max(0.0, rest_s) * 1000

    def _obey(self, number: int) -> None:
        if number in (signal.SIGTERM, signal.SIGINT):
            self._begin_stop()
        elif number == signal.SIGHUP:
            self._reload_is_due = True
        elif number == signal.SIGUSR2:
            self._upgrade_is_due = True

    def _generations(self) -> list[Generation]:
        return [each for each in (self._current, self._coming, *self._leaving) if each is not None]

    def _children(self) -> list[Child]:
        workers = [child for generation in self._generations() for child in generation.workers]
        workers += [self._successor] if self._successor is not None else []
        return workers + [child for attendant in self._attendants for child in attendant.children]

    # -- children

    def _fork_worker(self, generation: Generation) -> None:
        try:
            generation.fork(self._board, self._build, inherited=self._not_for(generation))
        except OSError as exc:
            self._reporter.event(Level.ERROR, "fork_failed", error=str(exc))

    def _fork_attendants(self, config: Config) -> None:
        lock = [self._lock] if self._lock is not None else []
        for attendant in self._attendants:
            if time.monotonic() >= attendant.starts_at:
                try:
                    attendant.start(config, inherited=[*self._not_for(None), *lock])
                except OSError as exc:
                    self._reporter.event(Level.ERROR, "fork_failed", error=str(exc))

    def _not_for(self, generation: Generation | None) -> list[Closable]:
        """List what a new child must not keep: a removed listener would not be closed while it lives."""
        kept = {each.sock for each in generation.listeners} if generation is not None else set()
        others = [each.sock for one in self._generations() for each in one.listeners if each.sock not in kept]
        return [*(child.control for child in self._children()), *others]

    def _bury(self, child: Child, code: int) -> None:
        """See to the end of a child: it is replaced, or it was the last of its kind, or a reload failed."""
        while child.hear():
            pass  # its last words may be unread
        child.control.close()
        how = child.last_words or (f"signal {-code}" if code < 0 else f"exit code {code}")
        if child is self._successor:
            self._successor = None
            self._report_failed_upgrade(pid=child.pid, how=how)
            return
        for attendant in self._attendants:
            if child in attendant.children:
                if attendant.bury():
                    self._reporter.event(Level.WARNING, f"{attendant.name}_died", pid=child.pid, how=how)
                return
        generation = next(each for each in self._generations() if child in each.workers)
        generation.bury(child, self._board)
        if generation in self._leaving and not generation.workers:
            self._leaving.remove(generation)
        if generation is self._coming and not child.is_ready and not self._stopping:
            self._give_up(generation, CannotStart(how, code if code > 0 else os.EX_SOFTWARE))
        elif code or (generation is self._current and not self._stopping):
            self._reporter.event(Level.ERROR, "worker_died", pid=child.pid, how=how)

    # -- generations

    def _promote(self, coming: Generation) -> None:
        """Let the new generation take over: from here on the old one accepts no more."""
        old, self._current, self._coming = self._current, coming, None
        where = " ".join(str(each) for each in coming.listeners)
        workers = " ".join(str(child.pid) for child in coming.workers)
        if old is not None:
            for generation in self._leaving[:-OLD_GENERATIONS]:
                generation.tell(DRAIN)
            self._drop_listeners(old, kept_by=coming)
            old.tell(RETIRE)
            self._leaving.append(old)
            for attendant in self._attendants[1:]:
                attendant.renew()
        if self._handover is not None:
            self._handover.take_over(coming.listeners)
            self._handover = None
        name = "started" if old is None else "reloaded"
        self._reporter.event(Level.NOTICE, name, listen=where, workers=workers)
        notify(os.environ, "READY=1")

    def _begin_reload(self, current: Generation) -> None:
        """Make a new generation; whatever is wrong with it, the current one stays."""
        self._reload_is_due = False
        notify(os.environ, "RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        if self._coming is not None:
            self._abandon(self._coming, current)
        try:
            config = self._reload()
            refuse_fixed_keys(current.config, config)
            tls = tls_context(config.tls)
            listeners = open_listeners(config.sockets, held=current.listeners)
        except (ConfigError, CannotStart) as exc:
            self._report_failed_reload(exc)
        except Exception as exc:  # noqa: BLE001 a bug in here is no reason to stop serving
            self._reporter.bug(exc)
            self._report_failed_reload(exc)
        else:
            self._coming = Generation(config, listeners, tls)

    def _report_failed_reload(self, exc: Exception) -> None:
        for line in str(exc).splitlines():
            self._reporter.event(
                Level.ERROR, "reload_failed", problem=line, consequence="the last good configuration stays"
            )
        notify(os.environ, "READY=1")

    def _give_up(self, coming: Generation, reason: CannotStart) -> None:
        if self._current is None:
            self._failure = reason
            self._begin_stop()
        else:
            self._abandon(coming, self._current)
            self._report_failed_reload(reason)

    def _abandon(self, coming: Generation, current: Generation) -> None:
        self._coming = None
        self._drop_listeners(coming, kept_by=current)
        coming.tell(DRAIN)
        if coming.workers:
            self._leaving.append(coming)

    def _drop_listeners(self, generation: Generation, *, kept_by: Generation) -> None:
        kept = {each.sock for each in kept_by.listeners}
        for listening in generation.listeners:
            if listening.sock not in kept:
                listening.remove()

    # -- the end

    def _begin_upgrade(self, current: Generation) -> None:
        """Start the program anew; it says when it serves on our sockets, or ends."""
        assert self._lock is not None
        why = why_not(current.config)
        if not why:
            try:
                self._successor = start_successor(current.listeners, self._lock)
                self._reporter.event(Level.NOTICE, "upgrade_begun", pid=self._successor.pid)
                return
            except OSError as exc:
                why = str(exc)
        self._report_failed_upgrade(how=why)

    def _report_failed_upgrade(self, **fields: object) -> None:
        self._reporter.event(Level.ERROR, "upgrade_failed", **fields, consequence="this server stays")

    def _hand_over(self, successor: Child) -> None:
        """Accept no more, and end once all clients have left; their connections stay."""
        self._successor, self._stopping, self._has_handed_over = None, True, True
        self._reporter.event(Level.NOTICE, "handed_over", to=successor.pid)
        notify(os.environ, f"MAINPID={successor.pid}", "READY=1")
        for attendant in self._attendants:
            attendant.end()
        for generation in self._generations():
            generation.tell(RETIRE)
            for listening in generation.listeners:
                listening.close()
        successor.tell(GO)
        successor.control.close()

    def _begin_stop(self) -> None:
        """Drain: everything a client has sent the end of is answered, within KILL_S."""
        if self._stopping and not self._has_handed_over:
            return
        self._stopping = True
        self._kills_at = time.monotonic() + KILL_S
        notify(os.environ, "STOPPING=1")
        if self._failure is None:
            self._reporter.event(Level.NOTICE, "stopping")
        for generation in self._generations():
            generation.tell(DRAIN)
            for listening in generation.listeners:
                listening.close() if self._has_handed_over else listening.remove()
        for attendant in self._attendants:
            attendant.end()
        if self._successor is not None:
            self._successor.end(signal.SIGTERM)
