"""What `lmtpd explain` says of a mailbox's quota. Nothing is changed: it may run as root, and often."""

import os
import time
from dataclasses import dataclass

from lmtpd.cli.owners import mailbox_disk
from lmtpd.cli.quotas import build_quotas
from lmtpd.config import Config
from lmtpd.delivery.outcomes import reply_of_cause
from lmtpd.protocol.replies import Reply
from lmtpd.recipients.mailbox import Mailbox
from storage.errors import StorageError
from storage.names import NameSource
from storage.quota_state import QuotaStateError

NONE = "none but the file system's"


@dataclass(frozen=True, slots=True)
class QuotaFacts:
    """What is known, as words, and the reply to RCPT if the mailbox is full."""

    facts: dict[str, str]
    refusal: Reply | None = None


def quota_facts(config: Config, mailbox: Mailbox, *, octets: int) -> QuotaFacts:
    """Look at the mailbox's quota and use, for a message of this size (0: not known)."""
    quotas = build_quotas(config, mailbox_disk(config), NameSource(config.hostname, f"{os.getpid():x}"))
    try:
        view = quotas.look(mailbox, octets)
    except (StorageError, QuotaStateError) as exc:
        return QuotaFacts({"quota": f"cannot be told: {exc}"})
    finally:
        quotas.close()
    if view is None:
        return QuotaFacts({"quota": NONE})
    limit, usage = view.standing.limit, view.standing.usage
    facts = {
        "quota": f"{limit} ({_source(config, mailbox)})",
        "used": f"{usage.octets} octets, {usage.messages} messages, {limit.share(usage):.0%}",
    }
    if view.remembered.full_since is not None:
        days = (time.time() - view.remembered.full_since) / 86_400
        facts["full for"] = f"{days:.1f} days"
    if view.refusal is not None:
        facts["when full"] = config.quota.full
        return QuotaFacts(facts, reply_of_cause(view.refusal))
    return QuotaFacts(facts)


def _source(config: Config, mailbox: Mailbox) -> str:
    if mailbox.quota is not None:
        return "the user's own"
    return "quota.default" if config.quota.default_limit is not None else "from its maildirsize"
