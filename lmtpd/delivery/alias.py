"""An alias with several mailboxes: one recipient, a copy for each, one reply.

The rule: its copies share their fate, since the one reply cannot tell them apart. All are staged before
the first is published, so what fails until then leaves nothing in any of the mailboxes. What fails later
may leave the message in some: the reply is 4xx, their records stay, and the retry stores it in the others
only. For that each copy has a key of its own in the ledger, made with its mailbox's address: the alias
may have other members in another order when the retry comes.
"""

from collections.abc import Sequence

from lmtpd.delivery.copy import Copy
from lmtpd.delivery.outcomes import Deferred, Delivered, Refused


def share_fate(copies: Sequence[Copy]) -> list[Copy]:
    """Let what failed for one copy of an alias count for those that are undecided; return these."""
    drawn_in = []
    for copy in copies:
        if copy.outcome is None and (failure := _failure(copy.siblings)) is not None:
            copy.outcome = failure
            drawn_in.append(copy)
    return drawn_in


def conclude(leader: Copy) -> None:
    """All copies of an alias are settled: unless each is delivered, none is promised to be."""
    failure = _failure(leader.siblings)
    if failure is not None:
        for copy in leader.siblings:
            copy.outcome = failure


def _failure(siblings: Sequence[Copy]) -> Deferred | Refused | None:
    for copy in siblings:
        if copy.outcome is not None and not isinstance(copy.outcome, Delivered):
            return copy.outcome
    return None
