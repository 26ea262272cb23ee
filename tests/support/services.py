"""A delivery service over real files, for tests of transactions; only the reporter is a fake."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from lmtpd.delivery.barrier import Verdict
from lmtpd.delivery.housekeeping import Housekeeper
from lmtpd.delivery.intent import Intents
from lmtpd.delivery.peer import Peer
from lmtpd.delivery.plan import Filter, Keep
from lmtpd.delivery.quota import QuotaRules, Quotas
from lmtpd.delivery.rounds import Rounds
from lmtpd.delivery.service import Commit, Service
from lmtpd.delivery.transaction import Transaction
from lmtpd.protocol.addresses import Address, parse_path
from lmtpd.protocol.events import NO_PARAMETERS, NOT_FORWARDED, Envelope, RecipientOffered
from lmtpd.protocol.replies import Reply
from lmtpd.recipients.directory import Directory
from lmtpd.recipients.maildirs import Detail, MaildirRules, MaildirSource
from lmtpd.report.records import RecipientReport
from lmtpd.report.reporter import Reporter
from storage.disk import Disk
from storage.folders import Layout
from storage.history import History
from storage.ledger import Ledger
from storage.maildir import Durability
from storage.maildirs import Maildirs
from storage.names import NameSource
from storage.owners import Owner
from storage.quota import QuotaFiles
from storage.quota_limit import QuotaLimit
from storage.quota_state import QuotaState

BODY = b"Subject: x\r\nMessage-ID: <1@x>\r\n\r\nhello\r\n.\r\nbare\nand\rmore\0\xff\r\n"
LARGE = b"Subject: large\r\n\r\n" + b"0123456789abcdef\r\n" * 60_000  # over a megabyte
A, B, C = "a@example.org", "b@example.org", "c@example.org"

ENVELOPE = Envelope(
    sender=Address("sender", "example.net"),
    sender_path=b"sender@example.net",
    size=None,
    body="8BITMIME",
    smtputf8=False,
    helo="mx.example.net",
    tls=False,
    forwarded=NOT_FORWARDED,
    parameters=NO_PARAMETERS,
)


class KeptReports(Reporter):
    """A reporter that keeps what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.reports: list[RecipientReport] = []
        self.bugs: list[BaseException] = []

    def recipient(self, report: RecipientReport) -> None:
        self.reports.append(report)

    def bug(self, exc: BaseException, **fields: object) -> None:
        self.bugs.append(exc)


class Client:
    """A peer whose state at the barrier the test decides."""

    def __init__(self, verdict: Verdict | None = None) -> None:
        self._verdict = verdict

    def verdict(self) -> Verdict | None:
        return self._verdict


def make_service(  # Long because every collaborator is made here
    tmp_path: Path,
    *,
    disk: Disk | None = None,
    commit: Commit = Commit.CHECKED,
    detail: Detail = Detail.EXISTING,
    create: bool = True,
    filter_: Filter | None = None,
    deadline_s: float = 240,
    recognise: bool = True,
    deliver_without_ledger: bool = False,
    ledger_path: Path | None = None,
    quota: QuotaRules | None = None,
) -> Service:
    (tmp_path / "mail").mkdir(exist_ok=True)
    (tmp_path / "state").mkdir(exist_ok=True)
    disk = disk or Disk()
    owner = Owner.of_this_process()
    ledger = Ledger(ledger_path or tmp_path / "state/ledger.db", owner, busy_timeout_s=0.1)
    history = History(tmp_path / "state/history.db")
    names = NameSource("mx.example.org", owner.token)
    maildirs = Maildirs(disk, names, durable=Durability.FULL)
    rules = MaildirRules(
        template=f"{tmp_path}/mail/{{domain}}/{{user}}",
        create=create,
        layout=Layout.MAILDIRPP,
        detail=detail,
        delimiters="+",
        fold_case=True,
    )
    reporter = KeptReports()
    return Service(
        hostname="mx.example.org",
        commit=commit,
        deadline_s=deadline_s,
        directory=Directory([MaildirSource(disk, rules)], postmaster=Address("postmaster", "mx.example.org")),
        filter=filter_ or Keep(),
        maildirs=maildirs,
        ledger=ledger,
        rounds=Rounds(
            Intents(ledger, maildirs, deliver_without_ledger=deliver_without_ledger) if recognise else None,
            reporter,
        ),
        reporter=reporter,
        history=history,
        housekeeper=Housekeeper(ledger, history, history_days=30, reporter=reporter),
        token=owner.token,
        quotas=Quotas(QuotaFiles(disk, names), quota, QuotaState(tmp_path / "state/quota.db"))
        if quota
        else None,
    )


def quota_rules(
    default: str | None,
    *,
    patience_s: float | None = None,
    ignored: frozenset[str] = frozenset(),
    extras: Mapping[str, QuotaLimit] = MappingProxyType({}),
) -> QuotaRules:
    """As of a `[quota]` section; default None: what each mailbox's file says."""
    return QuotaRules(
        default=None if default is None else QuotaLimit.parse(default),
        patience_s=patience_s,
        counts_trashed=True,
        ignored=ignored,
        extras=extras,
    )


def offered(path: str) -> RecipientOffered:
    address, _ = parse_path(f"<{path}>".encode(), smtputf8=True)
    assert address is not None
    return RecipientOffered(address, path.encode(), NO_PARAMETERS)


def begin(service: Service, recipients: Sequence[str], *, body: str = "8BITMIME") -> Transaction:
    """Open a transaction whose recipients are all accepted."""
    transaction = Transaction(service, Peer("unix", trusted=True), replace(ENVELOPE, body=body))  # type: ignore[arg-type]  # tests say what they like
    for recipient in recipients:
        assert transaction.offer(offered(recipient)).code == 250
    return transaction


def deliver(
    service: Service,
    recipients: Sequence[str],
    body: bytes,
    *,
    client: Client | None = None,
    refusal: Reply | None = None,
    chunk: int = 65536,
    kind: str = "8BITMIME",
) -> tuple[Transaction, list[Reply]]:
    """Deliver body and return the transaction, neither confirmed nor released, with its replies."""
    transaction = begin(service, recipients, body=kind)
    assert transaction.open_body().code == 354
    for at in range(0, len(body), chunk):
        transaction.write(body[at : at + chunk])
    replies = list(transaction.deliver(client or Client(), refusal))
    return transaction, replies


def files(tmp_path: Path, mailbox: str, *folders: str) -> list[Path]:
    """Everything in new/ of one mailbox, `DOMAIN/USER` below mail/."""
    new = (tmp_path / "mail" / mailbox).joinpath(*folders) / "new"
    return sorted(new.iterdir()) if new.is_dir() else []


def leftovers(tmp_path: Path) -> list[Path]:
    """Whatever lies in any tmp/."""
    return sorted(path for path in (tmp_path / "mail").rglob("tmp/*"))


def codes(answered: list[Reply]) -> list[int]:
    return [reply.code for reply in answered]


def body_of(path: Path) -> bytes:
    """The stored message without the four fields that a delivery adds."""
    return path.read_bytes().split(b"\n", 5)[5]
