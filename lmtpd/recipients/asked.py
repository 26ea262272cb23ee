"""A recipient source over a `Lookup`: remembered answers with limits, one deadline for every question, and
451 whenever the answer is not certain.
"""

import time
from collections.abc import Callable, Iterator
from threading import Lock

from lmtpd.protocol.addresses import Address
from lmtpd.recipients.answers import Answers
from lmtpd.recipients.entry import Entry, EntryError
from lmtpd.recipients.lookup import Lookup, LookupFailed, Question, SourceDown
from lmtpd.recipients.mailbox import Found, Step, Unavailable, Unknown
from lmtpd.recipients.naming import user_and_detail
from lmtpd.recipients.patience import NoAnswer, Patience
from lmtpd.recipients.placement import Placement
from lmtpd.recipients.rules import MaildirRules

# After a failure nobody is made to wait for the same again: one question a second asks whether it is back.
PAUSE_S = 1.0


class AskedSource:
    """A recipient source over a `Lookup`. One per worker; safe for all its threads."""

    def __init__(
        self,
        lookup: Lookup,
        placement: Placement,
        *,
        answers: Answers | None,
        patience: Patience | None,
        domains: frozenset[str] = frozenset(),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """answers None: nothing is remembered; patience None: the lookup never waits for anybody.

        domains: those that the lookup is asked for; empty: all.
        """
        self.name = lookup.name
        self.may_wait = patience is not None
        self._lookup = lookup
        self._placement = placement
        self._answers = answers
        self._patience = patience
        self._domains = domains
        self._clock = clock
        self._lock = Lock()
        self._down: tuple[float, str] = (0.0, "")

    def find(self, address: Address) -> Found:
        """Resolve address; never raises for what the world does."""
        if self._domains and address.domain not in self._domains:
            return Unknown(f"{self.name} is not asked for this domain")
        rules = self._placement.rules_of(address.domain)
        question = self._question(address, rules)
        try:
            entry = self._ask(question)
            if entry is None:
                return Unknown(f"{self.name} does not know {question.address}")
            return self._placement.place(entry, question, rules)
        except (LookupFailed, EntryError) as exc:
            return Unavailable(f"{self.name}: {question.address}: {exc}")

    def explain(self, address: Address) -> Iterator[Step]:
        """Tell what is asked, and what comes of it."""
        if self._domains and address.domain not in self._domains:
            yield Step("domain", f"{address.domain or 'none'}: not one of this source's")
            return
        rules = self._placement.rules_of(address.domain)
        question = self._question(address, rules)
        yield Step("user", question.address + (f", detail {question.detail}" if question.detail else ""))
        try:
            entry = self._ask(question)
        except (LookupFailed, EntryError) as exc:
            yield Step("answer", f"failed: {exc}")
            return
        if entry is None:
            yield Step("answer", "no such user")
            return
        yield from self._placement.explain(entry, question, rules)

    def close(self) -> None:
        """Let go of connections."""
        self._lookup.close()

    def _question(self, address: Address, rules: MaildirRules) -> Question:
        user, detail = user_and_detail(address, delimiters=rules.delimiters, fold_case=rules.fold_case)
        return Question(user, detail, address.domain, rules.delimiters[:1])

    def _ask(self, question: Question) -> Entry | None:
        if not question.user.isprintable():
            return None  # a name with control characters is nobody's, and no protocol's
        key = (question.user, question.domain, question.detail if self._lookup.asks_for_detail else None)
        if self._answers is not None and (kept := self._answers.get(key)) is not None:
            return kept.entry
        until, reason = self._down
        if self._clock() < until:
            raise SourceDown(reason)
        try:
            entry = self._wait(question)
        except SourceDown as exc:
            with self._lock:
                self._down = (self._clock() + PAUSE_S, str(exc))
            raise
        if self._answers is not None:
            self._answers.put(key, entry)
        return entry

    def _wait(self, question: Question) -> Entry | None:
        if self._patience is None:
            return self._lookup.find(question)
        try:
            return self._patience.call(lambda: self._lookup.find(question))
        except NoAnswer as exc:
            raise SourceDown(str(exc)) from exc
