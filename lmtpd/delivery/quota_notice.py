"""What the owner of a mailbox is told of its quota, and when. Pure.

A threshold counts as crossed once, until use has fallen clearly below it: a mailbox that goes to and fro
around 80 % would have its owner told with each message otherwise.
"""

from collections.abc import Sequence
from email.utils import formatdate

from storage.quota_limit import QuotaLimit, Usage, size_text
from storage.quota_state import Notice

# Below a threshold, as a share of the limit, before it may be crossed again.
HYSTERESIS = 0.05


def level_of(share: float, before: int, thresholds: Sequence[int]) -> int:
    """Return the threshold, in percent, that a mailbox is at; 0 below all. before: where it was."""
    reached = max((each for each in thresholds if share >= each / 100), default=0)
    if reached >= before:
        return reached
    held = max((each for each in thresholds if share >= each / 100 - HYSTERESIS), default=0)
    return min(held, before)


def is_worth_telling(before: int, level: int) -> bool:
    """Tell whether the owner hears of it: each threshold on the way up, and that all is well again."""
    return level > before or (level == 0 and before > 0)


def message_of(notice: Notice, *, hostname: str, postmaster: str, refuses: bool) -> bytes:
    """Write the mail, the same octets each time: a second delivery is recognised as such."""
    limit = QuotaLimit.parse(notice.limit)
    rest: tuple[str, ...] = ()
    percent = f"{limit.share(Usage(notice.octets, notice.messages)):.0%}"
    if notice.level:
        subject = f"Your mailbox is {percent} full"
        what = (
            "refused"
            if refuses
            else "held back by the sender's server, and returned to the sender after some days"
        )
        rest = (
            f"When it is full, new mail for it is {what}.",
            "Messages that are deleted, and removed from the trash, make room.",
        )
    else:
        subject = "Your mailbox has room again"
    lines = (
        f"From: {postmaster}",
        f"To: {notice.address}",
        f"Subject: {subject}",
        f"Date: {formatdate(notice.at)}",
        f"Message-ID: <quota-{notice.id}-{int(notice.at)}@{hostname}>",
        "Auto-Submitted: auto-generated",
        "MIME-Version: 1.0",
        "Content-Type: text/plain; charset=utf-8",
        "Content-Transfer-Encoding: 8bit",
        "",
        f"{notice.address} holds {size_text(notice.octets)} in {notice.messages} messages.",
        f"That is {percent} of what it may hold: {_limits(limit)}.",
        *rest,
        "",
    )
    return "\r\n".join(lines).encode()


def _limits(limit: QuotaLimit) -> str:
    parts = []
    if limit.octets:
        parts.append(size_text(limit.octets))
    if limit.messages:
        parts.append(f"{limit.messages} messages")
    return ", ".join(parts)
