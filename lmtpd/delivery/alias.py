"""An alias with several mailboxes: one recipient, a copy for each, one reply.

The rule: its copies share their fate, since the one reply cannot tell them apart. All are staged before
the first is published, so what fails until then leaves nothing in any of the mailboxes. What fails later
may leave the message in some: the reply is 4xx, their records stay, and the retry stores it in the others
only. For that each copy has a key of its own in the ledger, made with its mailbox's address: the alias
may have other members in another order when the retry comes.
"""

from collections.abc import Sequence
from dataclasses import replace

from lmtpd.delivery.copy import Copy
from lmtpd.delivery.outcomes import Deferred, Delivered, Outcome, Refused


def share_fate(copies: Sequence[Copy]) -> list[Copy]:
    """Let what failed for one copy of an alias count for those that are undecided; return these."""
    undecided = [(copy, _failed(copy.siblings)) for copy in copies if copy.outcome is None]
    drawn_in = []
    for copy, failed in undecided:
        if failed is not None:
            copy.outcome = _because_of(failed)
            drawn_in.append(copy)
    return drawn_in


def conclude(leader: Copy) -> None:
    """All copies of an alias are settled: unless each is delivered, none is promised to be."""
    failed = _failed(leader.siblings)
    if failed is not None:
        for copy in leader.siblings:
            if isinstance(copy.outcome, Delivered):
                copy.outcome = _because_of(failed)


def _failed(siblings: Sequence[Copy]) -> Copy | None:
    for copy in siblings:
        if copy.outcome is not None and not isinstance(copy.outcome, Delivered):
            return copy
    return None


def _because_of(failed: Copy) -> Outcome:
    """What is answered for the others: the same, but nothing of their own is at fault."""
    outcome = failed.outcome
    match outcome:
        case Deferred():
            detail = f"together with {failed.address}: {outcome.detail}"
            return replace(outcome, detail=detail, of_file_system=False)
        case Refused():
            return replace(outcome, detail=f"together with {failed.address}: {outcome.detail}")
        case Delivered() | None:
            raise ValueError(f"{failed.address} has not failed")
