"""The composition root: from a configuration to a service that can deliver.

Called in the process that delivers, after every fork: it opens files and starts threads.
"""

from collections.abc import Sequence
from contextlib import suppress
from functools import partial

from lmtpd.cli.directory import build_directory
from lmtpd.cli.events import announcer_of, measured_events, settle_events
from lmtpd.cli.limits import build_admission
from lmtpd.cli.notices import build_notices
from lmtpd.cli.owners import mailbox_disk, place_apart, with_owners
from lmtpd.cli.quotas import build_quotas, keeper_of
from lmtpd.config import Config
from lmtpd.delivery.headings import SingleInstance
from lmtpd.delivery.housekeeping import DeadTokens, Housekeeper
from lmtpd.delivery.intent import Intents
from lmtpd.delivery.plan import Keep
from lmtpd.delivery.rounds import Rounds
from lmtpd.delivery.service import Commit, Service
from lmtpd.report.records import Level, RecipientReport
from lmtpd.report.reporter import Reporter
from lmtpd.server.board import Board
from lmtpd.server.exporter import Answer
from lmtpd.server.figures import FigureSource
from storage.errors import StorageError
from storage.history import History, HistoryRow
from storage.ledger import Ledger, LedgerError
from storage.maildir import Durability, MaildirPath
from storage.maildirs import Maildirs
from storage.names import NameSource
from storage.owners import Owner

HISTORY_SEGMENTS = 60  # of a quiet site: each is looked into, and goes as a whole


def build_history(config: Config) -> History:
    """The history as configured."""
    days = max(1.0, config.ledger.history_days / HISTORY_SEGMENTS)
    return History(config.history_path, octets=config.ledger.history_octets, segment_s=days * 86_400)


def build_service(  # Long because every collaborator is made here
    config: Config, reporter: Reporter | None = None
) -> Service:
    """Everything that a transaction needs, started. Settles first what dead processes have left.

    reporter: where to tell things instead of the configured log; the service starts and closes it.
    Raises nothing for a ledger or history in trouble: mail is then deferred, and the log says so.
    """
    durable = Durability(config.delivery.durability)
    owner = Owner.of_this_process()
    reporter = reporter or Reporter(config.log.format, config.log.target)
    ledger = Ledger(config.ledger_path, owner, durable=durable is not Durability.NONE)
    history, dead_tokens = build_history(config), DeadTokens(ledger)
    disk, names = mailbox_disk(config), NameSource(config.hostname, owner.token)
    maildirs = Maildirs(disk, names, durable=durable, dead_tokens=dead_tokens)
    _settle(ledger, maildirs, dead_tokens, reporter=reporter)
    announcer = announcer_of(config, ledger, reporter, token=owner.token)
    if announcer is not None:
        settle_events(ledger, maildirs, reporter=reporter)
    intents = Intents(ledger, maildirs, deliver_without_ledger=config.ledger.on_failure == "deliver")

    def bury() -> None:
        if dead_tokens.look():
            maildirs.close()  # mailboxes are tidied when they are opened: so all are, at their next delivery

    days = config.ledger.history_days
    directory = with_owners(config, build_directory(config, disk), disk)
    quotas = build_quotas(config, disk, names)
    housekeeper = Housekeeper(ledger, history, history_days=days, reporter=reporter, bury=bury)
    service = Service(
        quotas=quotas,
        hostname=config.hostname,
        commit=Commit(config.delivery.commit),
        deadline_s=config.delivery.deadline_s,
        directory=directory,
        admission=build_admission(config, directory, quotas, disk=disk, reporter=reporter),
        filter=Keep(),
        maildirs=maildirs,
        ledger=ledger,
        rounds=Rounds(
            intents if config.delivery.duplicates == "unconfirmed" else None, reporter, announcer=announcer
        ),
        announcer=announcer,
        reporter=reporter,
        history=history,
        housekeeper=housekeeper,
        token=owner.token,
        apart=place_apart(config, names, dead_tokens),
        refuses_loops=config.delivery.loops == "refuse",
        notices=build_notices(config, reporter=reporter),
        single_instance=SingleInstance(config.delivery.single_instance),
    )
    service.keeper = keeper_of(config, service)
    reporter.start(HistoryRows(history))
    if service.notices is not None:
        service.notices.start()
    housekeeper.start()
    return service


def expose(config: Config, board: Board) -> Answer:
    """What the process that shows the metrics answers; called there."""
    source = FigureSource(config, board, more=partial(measured_events, config))

    def answer(accept: str) -> tuple[str, bytes]:
        # Only this process needs the library, and only once somebody asks.
        from lmtpd.report.exposition import exposition  # noqa: PLC0415

        figures, histograms = source.collect()
        return exposition(figures, histograms, accept=accept)

    return answer


def _settle(ledger: Ledger, maildirs: Maildirs, dead_tokens: DeadTokens, *, reporter: Reporter) -> None:
    """Remove the tmp files of deliveries that died; their records stay, to recognise the retry."""
    try:
        dead_tokens.look()
        records = ledger.recover()
    except LedgerError as exc:
        # The files are removed when the retry comes, or by maildir-clean.
        reporter.event(Level.ALERT, "ledger_failed", error=str(exc))
        return
    for record in records:
        with suppress(StorageError):
            maildirs.open(MaildirPath(record.maildir, ()), create=False).remove_tmp(record.tmp)
    if records:
        reporter.event(Level.NOTICE, "recovered", records=len(records))


class HistoryRows:
    """Hands reports to the history as its rows."""

    def __init__(self, history: History) -> None:
        self._history = history

    def add(self, reports: Sequence[RecipientReport]) -> None:
        """Keep reports. Raises HistoryError: they come again."""
        self._history.add([_row(report) for report in reports])


def _row(report: RecipientReport) -> HistoryRow:
    return HistoryRow(
        at=report.at,
        outcome=report.outcome,
        transaction_id=report.id,
        queue_id=report.queue_id,
        message_id=report.message_id,
        sender=report.sender,
        recipient=report.recipient,
        original_recipient=report.original_recipient,
        mailbox=report.maildir,
        folder=report.folder,
        file=report.file,
        octets=report.octets or 0,
        reply=report.reply,
        cause=": ".join(filter(None, (report.cause, report.detail))),
        client=report.client,
        helo=report.helo,
        phases=report.phases_ms,
    )
