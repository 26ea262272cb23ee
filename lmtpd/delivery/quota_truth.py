"""Keeps accounts true: mailboxes are counted when something was deleted from them, and now and then unasked.

Mail readers that know nothing of quotas delete, move and restore messages without telling. Deletions are
seen (`storage/watch.py`) in the mailboxes used last; what nobody saw is found by counting one mailbox
after the other, slowly.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass, field

from lmtpd.recipients.mailbox import Mailbox
from lmtpd.report.records import Level
from lmtpd.report.reporter import Reporter
from storage.errors import StorageError
from storage.quota import QuotaBox, QuotaFiles, Standing
from storage.watch import MaildirsWatch

KNOWN = 10_000  # mailboxes that are remembered, the last ones used; some 10 MB
DIRECTORIES = 4096  # watched at most: half of what the kernel gives a user on small machines
QUIET_S = 2.0  # behind a deletion: readers delete many at once
PAUSE_S = 10.0  # between two counts of one mailbox
FULL_S = 60.0  # how old a count may be of a mailbox that is full, or was warned: its owner waits
WATCH_AGAIN_S = 600.0  # after the kernel has refused a watch
DUTY = 50  # counting takes a fiftieth of the time at most


@dataclass(slots=True)
class _Known:
    mailbox: Mailbox
    box: QuotaBox
    checked_at: float
    lost_at: float | None = None  # something was deleted, and not yet counted


@dataclass(frozen=True, slots=True)
class Checked:
    """A mailbox that was counted just now."""

    mailbox: Mailbox
    standing: Standing


@dataclass(slots=True)
class Truth:
    """For one thread."""

    files: QuotaFiles
    reporter: Reporter
    maildirs: int  # watched at most; 0: none
    sample_s: float  # how old a count may be; 0: any age
    clock: Callable[[], float] = time.monotonic
    _known: OrderedDict[str, _Known] = field(default_factory=OrderedDict)
    _watch: MaildirsWatch | None = None
    _watch_at: float = 0.0
    _count_at: float = 0.0

    def meet(self, mailbox: Mailbox, box: QuotaBox) -> None:
        """Take note of a mailbox that has a quota, just used."""
        path = mailbox.maildir.path
        known = self._known.get(path)
        if known is None:
            self._known[path] = _Known(mailbox, box, self.clock() - PAUSE_S)
            if len(self._known) > KNOWN:
                self._known.popitem(last=False)
        else:
            known.mailbox, known.box = mailbox, box
            self._known.move_to_end(path)
        if self.maildirs and self.clock() >= self._watch_at and self._watch_over(path) and known is None:
            # What went before it was watched is not known.
            self._known[path].lost_at = self.clock()

    def knows(self, path: str) -> bool:
        """Tell whether a mailbox was met."""
        return path in self._known

    def check(self, remembered: Set[str]) -> Iterator[Checked]:
        """Count what is due. remembered: mailboxes that are full or were warned."""
        now = self.clock()
        if self._watch is not None:
            for path in self._watch.take():
                if path in self._known:
                    self._known[path].lost_at = now
        if now < self._count_at:
            return
        due = self._due(now, remembered)
        if due is None:
            return
        due.checked_at, due.lost_at = now, None
        try:
            yield Checked(due.mailbox, self._verified(due))
        except StorageError as exc:
            self.reporter.event(
                Level.WARNING, "quota_not_counted", maildir=due.box.inbox.path, error=str(exc)
            )
        self._count_at = self.clock() + DUTY * (self.clock() - now)

    def close(self) -> None:
        """Watch nothing any more."""
        if self._watch is not None:
            self._watch.close()

    def _due(self, now: float, remembered: Set[str]) -> _Known | None:
        """Choose the mailbox that has waited longest for a count that it needs."""
        oldest = None
        for path, known in self._known.items():
            age_s = now - known.checked_at
            lost = known.lost_at is not None and now - known.lost_at >= QUIET_S and age_s >= PAUSE_S
            stale = (self.sample_s and age_s >= self.sample_s) or (path in remembered and age_s >= FULL_S)
            if (lost or stale) and (oldest is None or known.checked_at < oldest.checked_at):
                oldest = known
        return oldest

    def _verified(self, known: _Known) -> Standing:
        """Count, and correct the account if it is wrong."""
        said = self.files.account(known.box)
        actual = self.files.actual(known.box)
        if said is not None and said.usage == actual:
            return said
        # What is being delivered is entered and not yet there: with the mailbox at rest, is it still so?
        standing = self.files.recount(known.box)
        if said is not None and standing.usage != said.usage:
            self.reporter.event(
                Level.NOTICE,
                "quota_corrected",
                maildir=known.box.inbox.path,
                octets=standing.usage.octets - said.usage.octets,
                messages=standing.usage.messages - said.usage.messages,
            )
        return standing

    def _watch_over(self, path: str) -> bool:
        if self._watch is None:
            self._watch = MaildirsWatch(maildirs=self.maildirs, directories=DIRECTORIES)
        try:
            return self._watch.add(path)
        except OSError as exc:
            self._watch_at = self.clock() + WATCH_AGAIN_S
            self.reporter.event(Level.WARNING, "quota_not_watched", maildir=path, error=str(exc))
            return False
