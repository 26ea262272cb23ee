"""A service that owes notices, with a clock and the place where they arrive."""

import email
from dataclasses import replace
from pathlib import Path

from lmtpd.delivery.barrier import Verdict
from lmtpd.delivery.notices import Notices
from lmtpd.delivery.peer import Peer
from lmtpd.delivery.service import Service
from lmtpd.delivery.transaction import Transaction
from lmtpd.protocol.events import Envelope, RecipientOffered
from lmtpd.report.records import Level
from lmtpd.report.reporter import Reporter
from storage.outbox import Outbox
from tests.support.clocks import Clock
from tests.support.services import BODY, ENVELOPE, Client, codes, make_service, offered
from tests.support.submissions import Sent

PEER = Peer("unix", trusted=True)
SUCCESS = {"NOTIFY": b"SUCCESS"}


class Events(Reporter):
    """Keeps events and bugs."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[tuple[Level, str]] = []
        self.bugs: list[BaseException] = []

    def event(self, level: Level, name: str, **fields: object) -> None:
        self.events.append((level, name))

    def bug(self, exc: BaseException, **fields: object) -> None:
        self.bugs.append(exc)


class Site:
    """A service that owes notices, a clock and the place where they arrive."""

    def __init__(self, tmp_path: Path, **how: object) -> None:
        self.clock = Clock()
        self.sent = Sent()
        self.events = Events()
        self.service: Service = make_service(tmp_path, **how)  # type: ignore[arg-type]  # tests say what they like
        self.outbox = Outbox(tmp_path / "state/outbox.db", clock=self.clock)
        self.notices = self.service.notices = Notices(
            self.outbox, self.sent, hostname="mx.example.org", reporter=self.events, clock=self.clock
        )

    def transaction(self, *recipients: RecipientOffered, envelope: Envelope = ENVELOPE) -> Transaction:
        transaction = Transaction(self.service, PEER, envelope)
        for recipient in recipients:
            assert transaction.offer(recipient).code == 250
        return transaction

    def deliver(
        self, *recipients: RecipientOffered, envelope: Envelope = ENVELOPE, verdict: Verdict | None = None
    ) -> list[int]:
        transaction = self.transaction(*recipients, envelope=envelope)
        transaction.open_body()
        transaction.write(BODY)
        answered = codes(list(transaction.deliver(Client(verdict), None)))
        transaction.release()  # the replies may be lost
        return answered

    def told(self) -> list[list[str]]:
        """Send what is due; return, for each notice so far, the recipients it is about."""
        self.notices._work()
        return [recipients_in(message) for _, message in self.sent.messages]


def recipients_in(message: bytes) -> list[str]:
    status = next(
        part
        for part in email.message_from_bytes(message).walk()
        if part.get_content_type() == "message/delivery-status"
    )
    finals = [block["Final-Recipient"] for block in status.get_payload()]  # type: ignore[index]  # a list of messages
    return [str(final).removeprefix("rfc822; ") for final in finals if final]


def asking(recipient: str, **parameters: bytes) -> RecipientOffered:
    return replace(offered(recipient), parameters=parameters or SUCCESS)
