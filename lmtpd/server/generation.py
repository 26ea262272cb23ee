"""The workers that serve one configuration: a reload makes new ones, it never changes those that serve."""

import math
import os
import socket
import ssl
import time
from collections.abc import Callable, Iterable
from functools import partial

from lmtpd.config import Config
from lmtpd.delivery.service import Service
from lmtpd.report.records import Level
from lmtpd.server.board import Board, Seat
from lmtpd.server.children import Child, Closable, spawn
from lmtpd.server.errors import CannotStart
from lmtpd.server.listeners import Listening
from lmtpd.server.worker import Worker

QUICK_S = 1.0  # a worker that lived for less has a fault that its successor may have as well
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 30.0

BuildService = Callable[[Config], Service]


class Generation:
    """Workers with one configuration, and when the next of them may be forked."""

    def __init__(self, config: Config, listeners: list[Listening], tls: ssl.SSLContext | None) -> None:
        self.config = config
        self.listeners = listeners
        self._forks_at = 0.0
        self._tls = tls
        self._workers: dict[Child, int] = {}  # and their seats
        self._quick_deaths = 0

    @property
    def workers(self) -> list[Child]:
        """Return those that live, or were not yet found dead."""
        return list(self._workers)

    @property
    def is_ready(self) -> bool:
        """Whether all its workers are there and accept connections."""
        return not self.is_short and all(child.is_ready for child in self._workers)

    @property
    def is_short(self) -> bool:
        """Whether workers are missing."""
        return len(self._workers) < self.config.server.workers

    @property
    def forks_at(self) -> float:
        """The time.monotonic() from which another worker is wanted.

        The first worker is awaited before the others are made: what hinders it would hinder all.
        """
        is_awaited = bool(self._workers) and not any(child.is_ready for child in self._workers)
        return math.inf if is_awaited or not self.is_short else self._forks_at

    def fork(self, board: Board, build: BuildService, *, inherited: Iterable[Closable]) -> None:
        """Start one more worker. OSError if there can be no further process; then it is tried later."""
        seat = board.take_seat()
        try:
            child = spawn(partial(self._work, Seat(board, seat), build), inherited=inherited)
        except OSError:
            board.clear_seat(seat)
            self._pause()
            raise
        self._workers[child] = seat

    def tell(self, message: bytes) -> None:
        """Send all workers a message."""
        for child in self._workers:
            child.tell(message)

    def bury(self, child: Child, board: Board) -> None:
        """Forget a worker that has ended; its successor waits if it lived for a moment only."""
        board.clear_seat(self._workers.pop(child))
        if time.monotonic() - child.born_at < QUICK_S:
            self._pause()
        else:
            self._quick_deaths = 0
            self._forks_at = 0.0

    def _pause(self) -> None:
        self._forks_at = time.monotonic() + min(FIRST_PAUSE_S * 2.0**self._quick_deaths, LONGEST_PAUSE_S)
        self._quick_deaths = min(self._quick_deaths + 1, 16)

    def _work(self, seat: Seat, build: BuildService, control: socket.socket) -> int:
        """Be a worker, from the fork to the exit code."""
        try:
            service = build(self.config)
            service.reporter.count_on(seat.sheet())
        except CannotStart as exc:
            control.send(str(exc).encode())
            return exc.code
        except OSError as exc:
            control.send(str(exc).encode())
            return os.EX_OSERR
        worker = Worker(
            self.config, service, listeners=self.listeners, tls=self._tls, control=control, seat=seat
        )
        if worker.run():
            service.close()
        else:
            # A thread that hangs may still publish. The ledger must not hear that we are done before all of
            # our threads are gone, and they go with the process.
            service.reporter.event(Level.WARNING, "connections_cut", count=seat.connections)
            service.reporter.close()
        return os.EX_OK
