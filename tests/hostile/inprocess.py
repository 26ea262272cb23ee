"""A server within the test's process: the real driver, session and service over a disk that the test makes.

What a disk does between two calls can be decided here and nowhere else: that it fails, or that the owner of
the mailbox puts a link in the way.
"""

import threading
from contextlib import suppress
from pathlib import Path
from socket import AF_UNIX, SHUT_RDWR, socket
from types import TracebackType

from lmtpd.delivery.peer import Peer
from lmtpd.delivery.service import Service
from lmtpd.delivery.transaction import Transaction
from lmtpd.protocol.events import Envelope
from lmtpd.protocol.session import Session, SessionSettings
from lmtpd.server.connection import Connection
from lmtpd.server.drain import Drain
from lmtpd.server.stream import Stream
from tests.support.services import KeptReports

SETTINGS = SessionSettings("mx.example.org", message_octets=100_000_000, recipients=100)
JOIN_S = 15.0


class InProcess:
    """Serves `service` on a socket in `folder`; used as a context. A bug of ours fails the block."""

    def __init__(self, service: Service, folder: Path) -> None:
        self.address = f"unix:{folder / 'socket'}"
        self._service = service
        self._drain = Drain()
        self._listener = socket(AF_UNIX)
        self._listener.bind(str(folder / "socket"))
        self._listener.listen(16)
        self._threads = [threading.Thread(target=self._accept)]
        self._bugs: list[BaseException] = []

    def __enter__(self) -> "InProcess":
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(JOIN_S)
        self._drain.close()
        reporter = self._service.reporter
        assert isinstance(reporter, KeptReports)
        for bug in (*self._bugs, *reporter.bugs):
            raise bug

    def _accept(self) -> None:
        with suppress(OSError):  # the listener was closed
            while True:
                end, _ = self._listener.accept()
                thread = threading.Thread(target=self._serve, args=(end,))
                self._threads.append(thread)
                thread.start()

    def _serve(self, end: socket) -> None:
        connection = Connection(
            Stream(end, drain=self._drain, idle_s=10),
            Session(SETTINGS),
            service=self._service,
            begin=self._begin,
            is_crowded=lambda: False,
            drain=self._drain,
        )
        try:
            connection.serve()
        except Exception as exc:  # noqa: BLE001 raised where the block ends
            self._bugs.append(exc)

    def _begin(self, envelope: Envelope) -> Transaction:
        return Transaction(self._service, Peer("unix", trusted=True), envelope)
