"""Quotas as delivery sees them: which limit a mailbox has, whether a message fits, and what a full one means.

The rule: a mailbox without a quota costs no call. What storage cannot tell is temporary.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from lmtpd.delivery.outcomes import Cause, Deferred, Refused, deferred_by
from lmtpd.recipients.mailbox import Mailbox
from storage.errors import MailboxMissing, StorageError
from storage.ledger import LedgerError
from storage.quota import Full, QuotaBox, QuotaFiles, Reservation, Standing
from storage.quota_count import Counting
from storage.quota_limit import UNLIMITED, QuotaLimit, Usage
from storage.quota_state import QuotaState, QuotaStateError, Remembered

SEEN = 10_000  # mailboxes between two looks of the keeper, a second apart


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaRules:
    """The `[quota]` section as delivery needs it."""

    default: QuotaLimit | None  # of users without one of their own; None: what their `maildirsize` says
    patience_s: float | None  # how long a mailbox may be full before it refuses; None: for ever
    counts_trashed: bool
    ignored: frozenset[str]  # folders that do not count
    extras: Mapping[str, QuotaLimit]  # folders that may hold more
    is_enforced: bool = True  # False: what does not fit is delivered and counted all the same


@dataclass(frozen=True, slots=True)
class Seen:
    """A mailbox into which something was just put."""

    mailbox: Mailbox
    box: QuotaBox
    standing: Standing


@dataclass(frozen=True, slots=True)
class View:
    """How a mailbox stands, for people."""

    standing: Standing
    remembered: Remembered
    refusal: Deferred | Refused | None  # what RCPT would be answered; None: accepted


class Quotas:
    """One per worker; safe for all its threads."""

    def __init__(
        self,
        files: QuotaFiles,
        rules: QuotaRules,
        state: QuotaState,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.files = files
        self.state = state
        self._rules = rules
        self._clock = clock
        self._full: set[str] = set()  # mailboxes that some process has found full; a hint, no more
        self._seen: dict[str, Seen] = {}
        self.expects: Callable[[str], bool] | None = None  # whether mail for a Maildir may come again
        self.on_crossing: Callable[[str, Mailbox, Standing], None] | None = None  # whom events are told by
        self.on_seen: Callable[[], None] | None = None  # called once, when there is something to keep

    def box_of(self, mailbox: Mailbox, folder: str | None = None) -> QuotaBox | None:
        """Return what a copy for this folder has to fit into; None: there is no quota for it."""
        rules = self._rules
        limit = mailbox.quota if mailbox.quota is not None else rules.default
        if (limit is not None and not limit) or folder in rules.ignored:
            return None
        counting = Counting(mailbox.layout, rules.ignored, rules.counts_trashed, mailbox.names)
        return QuotaBox(mailbox.maildir, counting, limit)

    def extra_of(self, folder: str | None) -> QuotaLimit:
        """Return what a folder may hold beyond the limit."""
        return self._rules.extras.get(folder, UNLIMITED) if folder is not None else UNLIMITED

    def refusal(self, mailbox: Mailbox, octets: int) -> Deferred | Refused | None:
        """Tell what RCPT is to be answered for a message of this size (0: not known); None: it fits."""
        box = self.box_of(mailbox, mailbox.folder)
        if box is None or not self._rules.is_enforced:
            return None
        adding = Usage(octets, 1)
        extra = self.extra_of(mailbox.folder)
        try:
            standing = self.files.standing(box, adding=adding, extra=extra)
        except MailboxMissing:
            standing = Standing(box.limit or UNLIMITED, Usage(0, 0))  # it is made with the delivery
        except StorageError as exc:
            return deferred_by(exc)
        if standing.limit.allows(standing.usage + adding) or self.may_come_again(mailbox):
            return None
        return self.when_full(mailbox, Full(standing))

    def may_come_again(self, mailbox: Mailbox) -> bool:
        """Tell whether mail for a full mailbox may be there already, and nobody knows that its sender knows.

        Its retry must be recognised, not refused. Asked for full mailboxes only.
        """
        try:
            return self.expects is not None and self.expects(mailbox.maildir.path)
        except LedgerError:
            return False

    def reserve(self, mailbox: Mailbox, folder: str | None, octets: int) -> Reservation | None:
        """Make room for a copy; None: there is no quota. Raise StorageError, Full where it does not fit."""
        box = self.box_of(mailbox, folder)
        if box is None:
            return None
        extra, is_enforced = self.extra_of(folder), self._rules.is_enforced
        reservation = self.files.reserve(box, Usage(octets, 1), extra=extra, enforced=is_enforced)
        if extra is UNLIMITED and reservation.standing.limit:
            self._note_seen(Seen(mailbox, box, reservation.standing))
        if self._full and mailbox.maildir.path in self._full:
            self._full.discard(mailbox.maildir.path)
            with suppress(QuotaStateError):  # the mailbox counts as full a little longer
                telling = self._telling("has_room", mailbox, reservation.standing)
                self.state.has_room(mailbox.maildir.path, telling=telling)
        return reservation

    def when_full(self, mailbox: Mailbox, full: Full) -> Deferred | Refused:
        """Tell what a full mailbox means for a message: by setting, and by how long it has been full."""
        patience_s = self._rules.patience_s
        if self.on_crossing is not None and full.standing.is_certain:
            self._note_filled(mailbox, full.standing)
        if patience_s is None or not full.standing.is_certain:
            return Deferred(Cause.QUOTA, str(full))
        if patience_s == 0:
            return _by_patience(full, 0.0, 0.0)
        path = mailbox.maildir.path
        now = self._clock()
        try:
            since = self.state.is_full(path, now, mailbox.address)
        except QuotaStateError as exc:
            return Deferred(Cause.QUOTA, f"{full}; since when cannot be told: {exc}")
        self._full.add(path)
        self._call_keeper()
        return _by_patience(full, now - since, patience_s)

    def look(self, mailbox: Mailbox, octets: int) -> View | None:
        """Tell how a mailbox stands and what RCPT would be answered, changing nothing; None: no quota.

        Raise StorageError, QuotaStateError.
        """
        box = self.box_of(mailbox, mailbox.folder)
        if box is None:
            return None
        adding, extra = Usage(octets, 1), self.extra_of(mailbox.folder)
        try:
            standing = self.files.look(box, adding=adding, extra=extra)
        except MailboxMissing:
            standing = Standing(box.limit or UNLIMITED, Usage(0, 0))
        if not standing.limit:
            return None
        remembered = self.state.look().get(mailbox.maildir.path, Remembered())
        if standing.limit.allows(standing.usage + adding):
            return View(standing, remembered, None)
        full, patience_s = Full(standing), self._rules.patience_s
        if patience_s is None:
            return View(standing, remembered, Deferred(Cause.QUOTA, str(full)))
        now = self._clock()
        age_s = now - (remembered.full_since if remembered.full_since is not None else now)
        return View(standing, remembered, _by_patience(full, age_s, patience_s))

    def unenforced(self) -> "Quotas":
        """Return quotas that count, and refuse nothing."""
        rules = replace(self._rules, is_enforced=False)
        return Quotas(self.files, rules, self.state, clock=self._clock)

    def take_seen(self) -> list[Seen]:
        """Return the mailboxes that something was put into since the last call, as they last stood."""
        seen, self._seen = self._seen, {}
        return list(seen.values())

    def note_full(self, paths: set[str]) -> None:
        """Learn which mailboxes other processes have found full."""
        self._full |= paths

    def _note_filled(self, mailbox: Mailbox, standing: Standing) -> None:
        path = mailbox.maildir.path
        if path in self._full:
            return
        with suppress(QuotaStateError):  # the next refusal tells it
            telling = self._telling("full", mailbox, standing)
            self.state.is_full(path, self._clock(), mailbox.address, telling=telling)
            self._full.add(path)
            self._call_keeper()

    def _telling(self, state: str, mailbox: Mailbox, standing: Standing) -> Callable[[], None] | None:
        return None if self.on_crossing is None else partial(self.on_crossing, state, mailbox, standing)

    def _note_seen(self, seen: Seen) -> None:
        if len(self._seen) < SEEN:
            self._seen[seen.mailbox.maildir.path] = seen
        self._call_keeper()

    def _call_keeper(self) -> None:
        on_seen, self.on_seen = self.on_seen, None
        if on_seen is not None:
            on_seen()

    def close(self) -> None:
        """Let go of the state."""
        self.state.close()


def _by_patience(full: Full, age_s: float, patience_s: float) -> Deferred | Refused:
    detail = f"{full}, full for {age_s / 86_400:.1f} days" if patience_s else str(full)
    return Refused(Cause.QUOTA, detail) if age_s >= patience_s else Deferred(Cause.QUOTA, detail)
