"""What every transaction of a worker shares. Made after the fork, replaced with its worker."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from lmtpd.delivery.admission import Admission
from lmtpd.delivery.announcing import Announcer
from lmtpd.delivery.headers import DateClock
from lmtpd.delivery.headings import SingleInstance
from lmtpd.delivery.housekeeping import Housekeeper
from lmtpd.delivery.notices import Notices
from lmtpd.delivery.plan import Filter
from lmtpd.delivery.quota import Quotas
from lmtpd.delivery.rounds import Rounds
from lmtpd.recipients.owners import Recipients
from lmtpd.report.reporter import Reporter
from storage.history import History
from storage.ledger import Ledger
from storage.maildir import Maildir
from storage.maildirs import Maildirs


class Commit(Enum):
    """What the barrier asks of the client, between the body and the reply (docs/behind-the-dot.md)."""

    IMMEDIATE = "immediate"
    CHECKED = "checked"
    CANCEL = "cancel"
    HOLD = "hold"


class Keeper(Protocol):
    """Somebody who works beside the deliveries, and delivers himself."""

    def stop(self) -> None:
        """End."""


@dataclass(slots=True, kw_only=True)
class Service:
    """The collaborators and rules of delivery. Safe for all threads of its worker."""

    hostname: str
    commit: Commit
    deadline_s: float  # from the end of the body to the last moment a copy may be published
    directory: Recipients
    filter: Filter
    maildirs: Maildirs
    ledger: Ledger
    rounds: Rounds
    quotas: Quotas | None = None  # None: nobody can have one
    keeper: Keeper | None = None  # of the quotas
    reporter: Reporter
    history: History
    housekeeper: Housekeeper
    token: str  # of this process; with a counter it makes transaction ids
    apart: Callable[[], Maildir] | None = (
        None  # opens the place of bodies for several owners; None: one owns all
    )
    single_instance: SingleInstance = SingleInstance.OFF
    refuses_loops: bool = True  # a message whose Delivered-To names the mailbox (RFC 5321 6.3)
    announcer: Announcer | None = None  # None: nobody asked for events
    notices: Notices | None = None  # None: DSN is not offered
    admission: Admission | None = None  # None: no limits on recipients
    dates: DateClock = field(default_factory=DateClock)
    _count: Iterator[int] = field(default_factory=itertools.count)

    def next_id(self) -> str:
        """A transaction id: unique over all processes, short enough for a log line."""
        return f"{self.token[:8]}{next(self._count):06x}"

    def close(self) -> None:
        """Write down what is queued and let go of everything; no transaction may be open any more."""
        self.rounds.close()
        if self.keeper is not None:
            self.keeper.stop()
        self.housekeeper.stop()
        if self.notices is not None:
            self.notices.stop()
        self.ledger.close()
        self.directory.close()
        self.reporter.close()
        self.history.close()
        if self.quotas is not None:
            self.quotas.close()
