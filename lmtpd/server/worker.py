"""A worker process: accepts connections, and ends when it is told to.

The rule: the main thread only waits and hands over. It never touches a connection again that it has
handed over to the lobby, never delivers, and so always hears the supervisor and the signals.
"""

import errno
import gc
import math
import os
import select
import signal
import socket
import ssl
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

from lmtpd.config import Config
from lmtpd.delivery.peer import Peer
from lmtpd.delivery.service import Service
from lmtpd.delivery.transaction import Transaction
from lmtpd.protocol import replies
from lmtpd.protocol.session import Session, SessionSettings
from lmtpd.server.board import Seat
from lmtpd.server.children import READY
from lmtpd.server.connection import Connection
from lmtpd.server.crew import Crew
from lmtpd.server.descriptors import open_reserve, raise_descriptor_limit
from lmtpd.server.drain import Drain
from lmtpd.server.listeners import BACKLOG, Listening
from lmtpd.server.lobby import Lobby
from lmtpd.server.lookups import IDLE_S as LOOKUP_IDLE_S
from lmtpd.server.lookups import Ask, Lookups, asked_on
from lmtpd.server.stream import Stream

# What the supervisor says on the control socket.
RETIRE, DRAIN = b"retire", b"drain"

RETIRE_S = 60.0  # for idle connections of a worker with an old configuration; Postfix keeps them for 2 s
RETIRED_S = 600.0  # for busy ones behind that; Postfix uses a connection for 300 s at most
DRAIN_S = 6.0  # from SIGTERM to the 421 for a client in the middle of a transaction
EXIT_S = 9.0  # from SIGTERM to the end, whatever still hangs; at 10 s the supervisor kills
YIELD_S = 0.002  # so that a worker with fewer connections takes the next one
LOOK_S = 0.1  # while there are connections: between two looks at the lobby's host
RECOVER_S = 0.1  # without descriptors or memory: until the next attempt to accept

_NO_RESOURCES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Worker:
    """One worker, made and run in its own process after the fork."""

    def __init__(
        self,
        config: Config,
        service: Service,
        *,
        listeners: Sequence[Listening],
        tls: ssl.SSLContext | None,
        control: socket.socket,
        seat: Seat,
    ) -> None:
        self._config = config
        self._service = service
        self._listeners = list(listeners)
        self._asked = asked_on(config)
        self._tls = tls
        self._control = control
        self._seat = seat
        self._drain = Drain()
        self._crew = Crew()
        self._lobby = Lobby(
            self._crew,
            service.rounds,
            drain=self._drain,
            reporter=service.reporter,
            idle_s=config.limits.idle_s,
        )
        self._is_told = False  # by SIGTERM
        self._leaving = False
        self._drains_at = math.inf
        self._ends_at = math.inf
        self._wake, self._waker = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._reserve = open_reserve()
        self._epoll = select.epoll()
        self._accepting: dict[int, Listening] = {}

    def run(self) -> bool:
        """Serve until the end, which is a message on the control socket, its end, or SIGTERM.

        False: connections are left, cut off by the deadline; their threads may still be at work.
        """
        self._prepare()
        self._lobby.open()
        self._seat.open()
        with suppress(OSError):  # the supervisor has ended: that is heard below
            self._control.send(READY)
        while not self._is_over():
            self._wait()
            if self._is_told:
                self._begin_drain()
            elif self._drains_at <= time.monotonic():
                self._drains_at = math.inf
                self._drain.begin(RETIRED_S)
        self._lobby.close()
        return not self._seat.connections

    def _prepare(self) -> None:
        # The kernel may give a signal to any thread: the pipe is what wakes this one.
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, self._on_signal)
        raise_descriptor_limit()
        for listening in self._listeners:
            self._accepting[listening.sock.fileno()] = listening
            self._epoll.register(listening.sock, select.EPOLLIN)
        self._epoll.register(self._control, select.EPOLLIN)
        self._epoll.register(self._wake, select.EPOLLIN)
        # What is alive now stays so: the collector need not look at it again, nor copy shared pages.
        gc.collect()
        gc.freeze()

    def _wait(self) -> None:
        """Sleep until something happens, and see to it."""
        next_at = min(self._drains_at, self._ends_at)
        rest_s = None if next_at == math.inf else max(0.0, next_at - time.monotonic())
        if self._seat.connections:
            rest_s = LOOK_S if rest_s is None else min(rest_s, LOOK_S)
            self._lobby.relieve()
        for fd, _ in self._epoll.poll(rest_s):
            if fd == self._control.fileno():
                self._hear()
            elif fd == self._wake:
                os.read(self._wake, 4096)
            elif (listening := self._accepting.get(fd)) is not None:
                if self._seat.has_more_than_its_share():
                    time.sleep(YIELD_S)
                self._accept(listening)

    # -- the end

    def _is_over(self) -> bool:
        return self._leaving and (not self._seat.connections or self._ends_at <= time.monotonic())

    def _on_signal(self, _number: int, _frame: object) -> None:
        """Only note it: the handler runs between any two lines of the main thread."""
        self._is_told = True

    def _hear(self) -> None:
        """Obey the supervisor. That it has ended is an order too: nobody else would stop us."""
        try:
            message = self._control.recv(64)
        except OSError:
            message = b""
        if message == RETIRE:
            self._retire()
        else:
            if not message:
                self._epoll.unregister(self._control)
            self._begin_drain()

    def _retire(self) -> None:
        """Accept no more; connections go on to their end, or until they are idle after RETIRE_S."""
        self._leaving = True
        self._drains_at = time.monotonic() + RETIRE_S
        self._stop_accepting()

    def _begin_drain(self) -> None:
        """Accept no more; idle connections end now, transactions within DRAIN_S, the worker within EXIT_S."""
        if self._ends_at < math.inf:
            return
        self._leaving = True
        self._ends_at = time.monotonic() + EXIT_S
        self._drains_at = math.inf
        self._drain.begin(DRAIN_S)
        self._stop_accepting()

    def _stop_accepting(self) -> None:
        self._seat.close()
        # Who is in the backlog believes to be connected: closing over them would be a reset.
        for fd, listening in self._accepting.items():
            for _ in range(BACKLOG):
                if not self._accept(listening):
                    break
            self._epoll.unregister(fd)
            listening.close()
        self._accepting.clear()

    # -- connections

    def _accept(self, listening: Listening) -> bool:
        """Take one connection from the backlog; False if there was none, or no means to serve it."""
        try:
            sock, address = listening.sock.accept()
        except BlockingIOError:
            return False  # another worker was faster
        except OSError as exc:
            if exc.errno in _NO_RESOURCES:
                self._refuse_one(listening)
            return False  # else: that client has given up already, accept(2)
        self._seat.add()
        try:
            self._welcome(sock, address, listening)
        except (RuntimeError, MemoryError):
            self._seat.subtract()
            _refuse(sock)
            return False
        except Exception as exc:  # noqa: BLE001 a bug ends this connection and no other
            self._service.reporter.bug(exc)
            self._see_off(sock)
        return True

    def _refuse_one(self, listening: Listening) -> None:
        """Answer one client 421 with the descriptor kept for this; without it wait, but never spin."""
        with suppress(OSError):
            os.close(self._reserve)
        try:
            sock, _ = listening.sock.accept()
        except OSError:
            time.sleep(RECOVER_S)
        else:
            _refuse(sock)
        self._reserve = open_reserve()

    def _welcome(self, sock: socket.socket, address: object, listening: Listening) -> None:
        """Begin to serve one client."""
        ask = self._asked.get(listening.configured)
        if ask is None:
            self._begin_lmtp(sock, address, is_unix=listening.is_unix)
        else:
            self._crew.start(partial(self._look_up, sock, ask))

    def _look_up(self, sock: socket.socket, ask: Ask) -> None:
        """Answer one client's questions; the whole life of a thread's job."""
        try:
            stream = Stream(sock, drain=self._drain, idle_s=LOOKUP_IDLE_S)
            Lookups(stream, ask(self._service), self._service).serve()
        except Exception as exc:  # noqa: BLE001 a bug ends this connection and no other
            self._service.reporter.bug(exc)
        finally:
            self._see_off(sock)

    def _see_off(self, sock: socket.socket) -> None:
        sock.close()
        if not self._seat.subtract() and self._leaving:
            os.write(self._waker, b"\0")

    def _begin_lmtp(self, sock: socket.socket, address: object, *, is_unix: bool) -> None:
        """Speak LMTP, from the lobby on."""
        peer = self._peer(address, is_unix=is_unix)
        starttls = self._tls is not None and not is_unix
        limit = self._config.server.connections
        crowded = self._seat.is_crowded(limit)
        limits = self._config.limits
        stream = Stream(
            sock, drain=self._drain, idle_s=limits.idle_s, min_octets_per_s=limits.min_octets_per_s
        )
        connection = Connection(
            stream,
            Session(self._settings(starttls=starttls, xforward=peer.trusted)),
            service=self._service,
            begin=partial(Transaction, self._service, peer),
            is_crowded=partial(self._seat.is_crowded, limit) if crowded else _never,
            drain=self._drain,
            tls=self._tls,
        )
        self._lobby.enter(connection, stream, partial(self._see_off, sock))

    def _peer(self, address: object, *, is_unix: bool) -> Peer:
        if is_unix:
            return Peer("unix", trusted=True)
        assert isinstance(address, tuple)
        host, port = address[:2]
        return Peer("tcp", address=host, port=port, trusted=self._config.server.trusts(host))

    def _settings(self, *, starttls: bool, xforward: bool) -> SessionSettings:
        limits = self._config.limits
        return SessionSettings(
            hostname=self._config.hostname,
            message_octets=limits.message_octets,
            recipients=limits.recipients,
            bad_commands=limits.bad_commands,
            starttls=starttls,
            dsn=self._config.submission.is_configured,
            xforward=xforward,
        )


def _never() -> bool:
    return False


def _refuse(sock: socket.socket) -> None:
    with suppress(OSError), sock:
        sock.setblocking(False)
        sock.send(replies.OUT_OF_RESOURCES.encode())
