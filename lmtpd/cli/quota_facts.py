"""What `lmtpd explain` says of a mailbox's quota. Nothing is changed: it may run as root, and often."""

import time
from collections.abc import Iterator

from lmtpd.config import Config
from lmtpd.delivery.outcomes import Deferred, Refused, deferred_by
from lmtpd.delivery.quota import Quotas, View
from lmtpd.recipients.mailbox import Mailbox
from storage.errors import StorageError
from storage.quota_state import QuotaStateError

NONE = "none but the file system's"


class QuotaLook:
    """Answers as the quotas do, and changes nothing where they would write down a new count."""

    def __init__(self, quotas: Quotas) -> None:
        self._quotas = quotas

    def refusal(self, mailbox: Mailbox, octets: int) -> Deferred | Refused | None:
        """Tell why a message of this size (0: not known) does not fit; None: it does."""
        try:
            view = self._quotas.look(mailbox, octets)
        except StorageError as exc:
            return deferred_by(exc)
        except QuotaStateError:
            return None  # only how long it has been full is not known
        return view.refusal if view is not None else None

    def facts(self, config: Config, mailbox: Mailbox, *, octets: int) -> dict[str, str]:
        """Tell limit, use, and where they come from."""
        try:
            view = self._quotas.look(mailbox, octets)
        except (StorageError, QuotaStateError) as exc:
            return {"quota": f"cannot be told: {exc}"}
        return dict(_facts(config, mailbox, view))


def _facts(config: Config, mailbox: Mailbox, view: View | None) -> Iterator[tuple[str, str]]:
    rules = {each.folder: each for each in config.quota.folders}
    rule = rules.get(mailbox.folder or "")
    if view is None:
        is_ignored = rule is not None and rule.extra is None
        yield "quota", f"none: quota.folders has {rule}" if is_ignored else NONE
        return
    limit, usage = view.standing.limit, view.standing.usage
    with_rule = f", with quota.folders {rule}" if rule is not None else ""
    yield "quota", f"{limit} ({_source(config, mailbox)}{with_rule})"
    yield "used", f"{usage.octets} octets, {usage.messages} messages, {limit.share(usage):.0%}"
    if rules:
        yield "quota.folders", ", ".join(map(str, rules.values()))
    if config.quota.warnings:
        yield "warned at", ", ".join(f"{each}%" for each in sorted(config.quota.warnings))
    if view.remembered.full_since is not None:
        yield "full for", f"{(time.time() - view.remembered.full_since) / 86_400:.1f} days"
    if view.refusal is not None:
        yield "when full", config.quota.full


def _source(config: Config, mailbox: Mailbox) -> str:
    if mailbox.quota is None:
        return "quota.default" if config.quota.default_limit is not None else "from its maildirsize"
    domain = mailbox.address.rpartition("@")[2]
    rules = config.domains.get(domain)
    # The very object: the user's own may be as large.
    if rules is not None and mailbox.quota is rules.quota:
        return f'domains."{domain}".quota'
    return "the user's own"
