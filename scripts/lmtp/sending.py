"""Several messages over one connection, told as facts: what each recipient of each message was answered."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass

from scripts.lmtp.client import LmtpClient, Lost, Refused, Verdict
from scripts.lmtp.message import WireMessage
from scripts.lmtp.options import Connection
from scripts.lmtp.outcome import Outcome
from scripts.lmtp.replies import ProtocolError, Reply
from scripts.shell.crew import Fact

Opener = Callable[[], AbstractContextManager[WireMessage]]


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be sent, from whom and to whom."""

    sender: str
    recipients: Sequence[str]
    # What each is called, and how to open it; without any the recipients are only asked for.
    messages: Sequence[tuple[str, Opener]]


def carry_out(connection: Connection, order: Order, outcome: Outcome, *, timeout_s: float) -> Iterator[Fact]:
    """Do it; yield one fact for each recipient of each message that was answered.

    timeout_s: how long a reply is waited for, unless the connection says. What the openers raise.
    """
    start = time.monotonic()
    try:
        waits_s = connection.timeout_s or timeout_s
        with closing(LmtpClient(connection.server, name=connection.name, timeout_s=waits_s)) as client:
            if connection.tls is not None:
                client.starttls(connection.tls)
            outcome.connect_s = time.monotonic() - start
            outcome.greeting, outcome.tls = client.greeting.text, client.tls
            for name, opener in order.messages:
                yield from _one(order, outcome, client, name, opener)
            if not order.messages and order.recipients:
                yield from _told(outcome, client.ask(order.sender, order.recipients), "")
            client.quit()
    except (Lost, Refused, ProtocolError) as exc:
        outcome.failure = str(exc)
        outcome.code = os.EX_TEMPFAIL
    finally:
        outcome.seconds = time.monotonic() - start
    outcome.code = outcome.code or _sum(outcome.refused)


def _one(order: Order, outcome: Outcome, client: LmtpClient, name: str, opener: Opener) -> Iterator[Fact]:
    with opener() as message:
        yield from _told(outcome, client.send(order.sender, order.recipients, message), name)


def _told(outcome: Outcome, verdicts: Iterator[Verdict], name: str) -> Iterator[Fact]:
    for verdict in verdicts:
        reply = verdict.reply
        if reply.accepted:
            outcome.accepted += 1
        else:
            outcome.refused.append(_exit_code(reply))
            outcome.refusal = outcome.refusal or f"<{verdict.recipient}>: {reply}"
        yield {
            "file": name,
            "to": verdict.recipient,
            "stage": verdict.stage,
            "code": reply.code,
            "status": reply.status,
            "text": reply.text,
            "seconds": round(verdict.seconds, 6),
        }


def _exit_code(refusal: Reply) -> int:
    """Name the exit code that one refusal alone would give."""
    if refusal.temporary:
        return os.EX_TEMPFAIL
    return os.EX_NOUSER if refusal.status == "5.1.1" else os.EX_UNAVAILABLE


def _sum(codes: Sequence[int]) -> int:
    """Sum up as `lmtpd deliver` does: a temporary failure wins, since only a retry can mend it."""
    if not codes:
        return os.EX_OK
    if os.EX_TEMPFAIL in codes:
        return os.EX_TEMPFAIL
    return os.EX_NOUSER if all(code == os.EX_NOUSER for code in codes) else os.EX_UNAVAILABLE
