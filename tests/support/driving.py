"""The driver of a connection with a real socket and session, and a transaction that does as it is told."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, cast

from lmtpd.delivery.barrier import Client, Verdict
from lmtpd.delivery.service import Commit, Service
from lmtpd.delivery.transaction import Transaction
from lmtpd.protocol import replies
from lmtpd.protocol.events import Envelope, RecipientOffered
from lmtpd.protocol.replies import Reply
from lmtpd.protocol.session import Session, SessionSettings
from lmtpd.server.connection import Connection
from lmtpd.server.drain import Drain
from lmtpd.server.stream import Stream
from tests.support.lmtp_client import LmtpClient
from tests.support.sockets import connected_pair, tls_contexts

JOIN_S = 10.0
DELIVERED = Reply(250, "2.0.0", ("Saved",))
ABORTED = {Verdict.GONE: replies.CLIENT_GONE, Verdict.CANCELLED: replies.CANCELLED}


@dataclass
class Script:
    """What the transactions of a connection do, beside the obvious."""

    at_barrier: Callable[[], object] = lambda: None  # when all is staged, before the client is looked at
    at_publish: Callable[[], object] = lambda: None  # behind the barrier
    at_reply: Callable[[int], object] = lambda number: None  # before the reply to that recipient is final
    offer: Callable[[RecipientOffered], Reply] = lambda event: replies.RECIPIENT_OK
    open_body: Callable[[], Reply] = lambda: replies.START_DATA
    write: Callable[[bytes], object] = lambda data: None
    conclude: Callable[[], object] = lambda: None
    too_few: bool = False  # replies


class ScriptedTransaction:
    """Has the real one's methods, and notes what is asked of it."""

    def __init__(self, script: Script, log: list[str], *, hold: bool) -> None:
        self._script = script
        self._log = log
        self._hold = hold
        self._recipients = 0
        self.body = b""
        self.is_large = False
        self.owes_notices = False

    def offer(self, event: RecipientOffered) -> Reply:
        reply = self._script.offer(event)
        self._recipients += reply.accepted
        return reply

    def open_body(self) -> Reply:
        return self._script.open_body()

    def write(self, data: bytes) -> None:
        self._script.write(data)
        self.body += data

    def deliver(self, client: Client, refusal: Reply | None) -> Iterator[Reply]:
        reply = refusal or DELIVERED
        if refusal is None and not self._hold:
            self._script.at_barrier()
            verdict = client.verdict()
            self._log.append("published" if verdict is None else verdict.value)
            reply = ABORTED[verdict] if verdict is not None else DELIVERED
        self._script.at_publish()
        for number in range(self._recipients - self._script.too_few):
            self._script.at_reply(number)
            yield reply

    def conclude(self) -> None:
        self._script.conclude()
        self._log.append("concluded")

    def time_out(self, detail: str) -> None:
        self._log.append("timed out")

    def drop(self) -> None:
        self._log.append("dropped")

    def confirm(self) -> None:
        self._log.append("confirmed")

    def release(self) -> None:
        self._log.append("released")


class KeptBugs:
    """A reporter that keeps the bugs."""

    def __init__(self) -> None:
        self.bugs: list[BaseException] = []

    def count(self, name: str, *labels: str) -> None:
        """Count nothing."""

    def count_on(self, sheet: object) -> None:
        """Count nothing."""

    def bug(self, exc: BaseException, **_: object) -> None:
        """Keep exc."""
        self.bugs.append(exc)

    def event(self, *_: object, **__: object) -> None:
        """Take note of nothing else."""

    def close(self) -> None:
        """Nothing to close."""


class QuickDirectory:
    """Recipient sources that answer at once."""

    may_wait = False


@dataclass
class FakeService:
    """What a connection uses of a service."""

    commit: Commit
    reporter: KeptBugs = field(default_factory=KeptBugs)
    directory: QuickDirectory = field(default_factory=QuickDirectory)
    rounds: object = None  # a talk in a thread of its own asks none


class Driven:
    """One connection, served by a thread, and its client."""

    def __init__(
        self,
        transport: str = "unix",
        *,
        commit: Commit = Commit.CHECKED,
        idle_s: float = 10.0,
        min_octets_per_s: float = 0,
        is_crowded: Callable[[], bool] = lambda: False,
        script: Script | None = None,
        drain: Drain | None = None,
    ) -> None:
        self.script = script or Script()
        self.log: list[str] = []
        self.transactions: list[ScriptedTransaction] = []
        self.drain = drain or Drain()
        self.service = FakeService(commit)
        self.rises: list[BaseException] = []  # out of the driver: bugs that end the connection
        self.server, end = connected_pair(transport)
        self.client = LmtpClient(end, timeout_s=JOIN_S)
        settings = SessionSettings("mx.example.org", message_octets=1_000_000, recipients=100, starttls=True)
        self.session = Session(settings)
        self.connection = Connection(
            Stream(self.server, drain=self.drain, idle_s=idle_s, min_octets_per_s=min_octets_per_s),
            self.session,
            service=cast(Service, self.service),  # the fake has what the driver uses
            begin=self._begin,
            is_crowded=is_crowded,
            drain=self.drain,
            tls=tls_contexts()[0],
        )
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> "Driven":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.close()
        self._thread.join(JOIN_S)
        self.drain.close()
        if error is None:
            assert not self._thread.is_alive(), "the driver does not end"

    def ended(self) -> list[str]:
        """Wait until the driver has ended; return the log."""
        self._thread.join(JOIN_S)
        assert not self._thread.is_alive(), "the driver does not end"
        return self.log

    def say_body(self, body: bytes = b"Subject: hi\r\n\r\nhi\r\n", *, recipients: int = 1) -> None:
        """Greet, and go as far as the body, the end of the message still to be sent."""
        self.client.greet()
        self.open_transaction(body, recipients=recipients)

    def open_transaction(self, body: bytes = b"Subject: hi\r\n\r\nhi\r\n", *, recipients: int = 1) -> None:
        """From MAIL to the body."""
        addresses = [f"user{number}@example.org" for number in range(recipients)]
        assert [reply.code for reply in self.client.envelope("me@example.org", addresses)] == [
            250
        ] * recipients
        assert self.client.command("DATA").code == 354
        self.client.send(body)

    def _begin(self, envelope: Envelope) -> Transaction:
        transaction = ScriptedTransaction(self.script, self.log, hold=self.service.commit is Commit.HOLD)
        self.transactions.append(transaction)
        return cast(Transaction, transaction)  # as above

    def _serve(self) -> None:
        try:
            self.connection.serve()
        except Exception as exc:  # noqa: BLE001 the test looks at it
            self.rises.append(exc)


@contextmanager
def tls_driven(**settings: Any) -> Iterator[Driven]:  # Any: those of Driven
    """Yield a connection over TCP whose client has said STARTTLS."""
    with Driven("tcp", **settings) as driven:
        driven.client.greet()
        driven.client.starttls(tls_contexts()[1])
        driven.client.lhlo()
        yield driven
