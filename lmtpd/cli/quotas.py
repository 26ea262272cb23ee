"""The part of the composition root that makes quotas."""

from lmtpd.cli.counting import counting_of
from lmtpd.config import Config
from lmtpd.delivery.quota import QuotaRules, Quotas
from lmtpd.delivery.quota_keeper import KeeperRules, QuotaKeeper
from lmtpd.delivery.service import Commit, Service
from storage.disk import Disk
from storage.folders import Layout
from storage.names import NameSource
from storage.quota import QuotaFiles
from storage.quota_state import QuotaState


def build_quotas(config: Config, disk: Disk, names: NameSource) -> Quotas:
    """The quotas of all mailboxes; nothing is opened before a mailbox has one."""
    quota = config.quota
    counting = counting_of(config, Layout.MAILDIRPP)
    rules = QuotaRules(
        default=quota.default_limit,
        patience_s=quota.patience_s,
        counts_trashed=counting.counts_trashed,
        ignored=counting.ignored,
        extras={each.folder: each.extra for each in quota.folders if each.extra is not None},
    )
    return Quotas(QuotaFiles(disk, names), rules, QuotaState(config.quota_path))


def keeper_of(config: Config, service: Service) -> QuotaKeeper | None:
    """Who keeps the quotas; starts with the first mailbox that has one, or with what is remembered."""
    quotas, quota = service.quotas, config.quota
    if quotas is None:
        return None
    rules = KeeperRules(
        thresholds=tuple(sorted(quota.warnings)),
        command=quota.warning_command,
        postmaster=config.postmaster,
        refuses=quota.patience_s is not None,
        maildirs=quota.watch,
        sample_s=quota.sample_s,
    )
    keeper = QuotaKeeper(service, quotas, rules, lock=config.quota_path.with_suffix(".keeper"))
    quotas.on_seen = keeper.start
    if service.announcer is not None:
        quotas.on_crossing = service.announcer.crossed
    # With `hold` the client is answered before the ledger is asked.
    if service.rounds.recognises and service.commit is not Commit.HOLD:
        quotas.expects = service.ledger.may_come_again
    if quotas.state.exists:
        keeper.start()
    return keeper
