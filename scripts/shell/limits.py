"""What mailboxes may hold, and what counts, by the configuration and the recipient sources."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from lmtpd.cli.addresses import parse_address
from lmtpd.cli.counting import counting_of
from lmtpd.cli.directory import build_directory
from lmtpd.cli.failures import Failure as ServerFailure
from lmtpd.config import Config
from lmtpd.recipients.mailbox import Mailbox
from scripts.shell.target import Target
from storage.disk import Disk
from storage.quota import QuotaBox
from storage.quota_count import Counting
from storage.quota_limit import QuotaLimit


@dataclass(frozen=True, slots=True)
class Limits:
    """Of the Maildirs of one run."""

    default: QuotaLimit | None  # None: what each mailbox's `maildirsize` says
    own: Mapping[str, QuotaLimit]  # of users who have one of their own, by the Maildir's path
    config: Config | None

    @classmethod
    def of(cls, config: Config | None, targets: Sequence[Target]) -> Self:
        """Ask the recipient sources; with the rights of who started us, so before the work begins."""
        if config is None:
            return cls(None, {}, None)
        directory = build_directory(config, Disk())
        own = {}
        for target in targets:
            if target.user:
                try:
                    mailbox = directory.find(parse_address(target.user))
                except ServerFailure:
                    continue  # what lies on the disk need not be an address
                if isinstance(mailbox, Mailbox) and mailbox.quota is not None:
                    own[target.path] = mailbox.quota
        return cls(config.quota.default_limit, own, config)

    def box_of(self, target: Target) -> QuotaBox:
        """Tell what a Maildir may hold and what counts in it.

        Whose a Maildir is that was given by its path is not known: a user with a limit of his own, perhaps.
        """
        counting = counting_of(self.config, target.layout) if self.config else Counting(target.layout)
        default = self.default if target.user else None
        return QuotaBox(target.where, counting, self.own.get(target.path, default))
