"""Where connections wait for their clients, all of a worker in one thread.

A thread of its own for every connection is woken five times for a message, and each time it has to win the
interpreter from all the others: with thirty connections that costs more than the delivery. So one thread, the
host, waits for all clients and goes on with whichever talk has heard from its client; and what may take long
happens elsewhere: delivery in its round, and talks that may wait in threads of their own.

The rule: a talk is in one place at a time; whoever holds it may go on with it. Should the host be held up by
a talk all the same, by a directory on a disk that does not answer, say, another thread becomes the host
(`relieve`); the old one leaves when it comes back.
"""

import os
import select
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from threading import Lock

from lmtpd.delivery.rounds import Delivery, Rounds
from lmtpd.report.reporter import Reporter
from lmtpd.server.connection import Connection
from lmtpd.server.crew import Crew
from lmtpd.server.drain import Drain
from lmtpd.server.stream import PeerSilent, Stream, StreamError
from lmtpd.server.talk import OwnThread, Receive, Talk

HELD_UP_S = 0.05  # so long may a talk keep the host before another thread takes its place
PAUSE_S = 0.1  # behind a bug of the host: one that repeats itself must not fill the log
_TICK_S = 1.0  # between two looks at who has been silent for too long
_DRAIN_TICK_S = 0.25

_LISTENING = select.EPOLLIN | select.EPOLLRDHUP
_MUTED = select.EPOLLONESHOT  # a hang-up is told even so, but only once


@dataclass(slots=True, eq=False)
class _Guest:
    connection: Connection
    stream: Stream
    talk: Talk
    leave: Callable[[], None]
    octets: int = 0  # wanted next
    is_known: bool = False  # to epoll
    silent_at: float = 0.0  # of time.monotonic(): when the idle limit is reached


class Lobby:
    """The talks of one worker that wait."""

    def __init__(
        self, crew: Crew, rounds: Rounds, *, drain: Drain, reporter: Reporter, idle_s: float
    ) -> None:
        self._crew = crew
        self._rounds = rounds
        self._drain = drain
        self._reporter = reporter
        self._idle_s = idle_s
        self._epoll = select.epoll()
        self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._epoll.register(self._bell, select.EPOLLIN)
        self._epoll.register(drain.fd, select.EPOLLIN | select.EPOLLONESHOT)
        self._lock = Lock()  # guards who is the host
        self._host = 0  # counts hosts; the latest is the one
        self._busy_since = 0.0  # of time.monotonic(): the host has gone on with a talk; 0: it waits
        self._waiting: dict[int, _Guest] = {}  # for its client, by descriptor; taking it is taking the talk
        self._muted: set[int] = set()  # who has spoken while its talk was elsewhere
        self._ready: deque[_Guest] = deque()  # whose delivery has had its round, and who have just come
        self._rung = False
        self._tick_at = 0.0

    def open(self) -> None:
        """Have a host, in place of the present one. RuntimeError or MemoryError: that one stays."""
        self._crew.start(self._serve)

    def close(self) -> None:
        """Let the host go; whoever still waits is not heard any more."""
        with self._lock:
            self._host += 1
        os.eventfd_write(self._bell, 1)

    def enter(self, connection: Connection, stream: Stream, leave: Callable[[], None]) -> None:
        """Begin to talk; leave is called at the end, in whatever thread."""
        self._call(_Guest(connection, stream, connection.talk(), leave))

    def relieve(self) -> None:
        """Give the lobby another host if this one is held up. To be called every now and then."""
        since = self._busy_since
        if since and time.monotonic() - since > HELD_UP_S:
            self._busy_since = 0.0
            try:
                self.open()
            except (RuntimeError, MemoryError):
                self._busy_since = since  # no thread can be had now; the next call tries again

    def _call(self, guest: _Guest) -> None:
        self._ready.append(guest)
        if not self._rung:
            self._rung = True
            os.eventfd_write(self._bell, 1)

    # -- the host

    def _serve(self) -> None:
        with self._lock:  # only now: without a thread for the new host the old one must not leave
            self._host += 1
            number = self._host
        while number == self._host:
            try:
                self._be_host(number)
            except Exception as exc:  # noqa: BLE001 the lobby must not be left alone for a bug of ours
                self._reporter.bug(exc)
                if number == self._host:
                    os.eventfd_write(self._bell, 1)  # for those who were ready behind it

    def _be_host(self, number: int) -> None:
        """Hear the clients, and go on with their talks, until another thread does."""
        while number == self._host:
            for fd, _ in self._epoll.poll(_DRAIN_TICK_S if self._drain.begun else _TICK_S):
                if fd == self._bell:
                    self._answer_bell(number)
                elif fd == self._drain.fd:
                    self._tick_at = 0.0
                elif (guest := self._waiting.pop(fd, None)) is not None:
                    self._hear(guest)
                else:
                    self._mute(fd)
                if number != self._host:
                    return  # who else has spoken is still to be heard by the new host
            if time.monotonic() >= self._tick_at:
                self._look_around(number)
                if number != self._host:
                    return
            self._busy_since = 0.0

    def _answer_bell(self, number: int) -> None:
        with suppress(BlockingIOError):
            os.eventfd_read(self._bell)
        self._rung = False
        while self._ready and number == self._host:
            try:
                guest = self._ready.popleft()
            except IndexError:
                return
            self._go_on(guest, None)
        if self._ready:
            os.eventfd_write(self._bell, 1)

    def _hear(self, guest: _Guest) -> None:
        data = guest.stream.receive_arrived(guest.octets)
        if not data and not guest.stream.ended:
            self._wait(guest)  # a false alarm
        else:
            self._go_on(guest, data)

    def _look_around(self, number: int) -> None:
        """Tell those who have waited too long, and in a drain everybody, that nothing has come."""
        now = time.monotonic()
        self._tick_at = now + (_DRAIN_TICK_S if self._drain.begun else _TICK_S)
        for fd, guest in list(self._waiting.items()):
            is_late = guest.silent_at <= now
            if (is_late or self._drain.begun) and self._take(fd, guest):
                self._tell_silence(guest, is_late=is_late)
                if number != self._host:
                    return  # what is left of this list is old

    def _take(self, fd: int, guest: _Guest) -> bool:
        """Take the talk if it still waits; the descriptor may be somebody else's by now."""
        with self._lock:
            return self._waiting.get(fd) is guest and self._waiting.pop(fd, None) is guest

    def _tell_silence(self, guest: _Guest, *, is_late: bool) -> None:
        """Unless something has come since poll(2): a dot that was received gets its replies, drain or not."""
        data = guest.stream.receive_arrived(guest.octets)
        if data or guest.stream.ended:
            self._go_on(guest, data)
        else:
            self._go_on(guest, None, PeerSilent("no input in time") if is_late else None)

    # -- talks

    def _go_on(self, guest: _Guest, value: bytes | None, error: StreamError | None = None) -> None:
        self._busy_since = time.monotonic()
        try:
            want = guest.talk.send(value) if error is None else guest.talk.throw(error)
        except StopIteration:
            guest.leave()
            return
        except Exception as exc:  # noqa: BLE001 a bug ends this connection and no other
            self._reporter.bug(exc)
            guest.leave()
            return
        match want:
            case Receive(octets, goes_on):
                guest.octets = octets
                guest.silent_at = time.monotonic() + self._idle_s
                try:
                    guest.stream.keep_up(goes_on=goes_on)
                except PeerSilent as exc:
                    self._go_on(guest, None, exc)
                else:
                    self._wait(guest)
            case Delivery():
                self._rounds.submit(want, partial(self._call, guest))
            case OwnThread():
                self._part_with(guest)

    def _wait(self, guest: _Guest) -> None:
        fd = guest.stream.fileno()
        with self._lock:
            self._waiting[fd] = guest
            is_muted = fd in self._muted
            self._muted.discard(fd)
        if not guest.is_known:
            guest.is_known = True
            self._epoll.register(fd, _LISTENING)
        elif is_muted:
            self._epoll.modify(fd, _LISTENING)

    def _mute(self, fd: int) -> None:
        """A client speaks while its talk is elsewhere: that must not wake us until it is back."""
        with self._lock, suppress(OSError):
            if fd not in self._waiting and fd not in self._muted:
                self._epoll.modify(fd, _MUTED)
                self._muted.add(fd)

    def _part_with(self, guest: _Guest) -> None:
        if guest.is_known:
            fd = guest.stream.fileno()
            self._epoll.unregister(fd)
            self._muted.discard(fd)
        try:
            self._crew.start(partial(self._alone, guest))
        except (RuntimeError, MemoryError):
            self._alone(guest)  # no thread can be had: this one, then, as long as it takes

    def _alone(self, guest: _Guest) -> None:
        try:
            guest.connection.go_on(guest.talk)
        except Exception as exc:  # noqa: BLE001 as above
            self._reporter.bug(exc)
        finally:
            guest.leave()
