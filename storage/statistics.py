"""How much mail is in a folder, how old it is, when it came, and which messages are the largest.

A message's age is that of its file's date: IMAP's date of arrival, which imports and moves keep, while the
time in the name is that of the arrival in the folder. Memory does not grow with the number of messages.
"""

import re
import time
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from heapq import heappush, heappushpop
from stat import S_IFREG

from storage.directory import Directory
from storage.findings import Looked
from storage.headers_read import sender_of
from storage.listing import PARTS, entries

DAY_S = 86_400
# Upper ends in days, and what is older than the last.
AGES = (7, 30, 90, 365, 3 * 365)
AGE_NAMES = ("week", "month", "quarter", "year", "3 years", "older")
LARGEST = 20
# Addresses counted at a time; of more the rarest are forgotten, so that memory stays bounded.
SENDERS = 10_000
_LOOKED = 1000
_DAY_NS = DAY_S * 10**9
# As quotas count: of a message that a mail server keeps compressed, what it has without that.
_SIZE = re.compile(r",S=([0-9]{1,18})(?=[,:]|$)")


@dataclass(slots=True)
class Amount:
    """Messages and their octets."""

    messages: int = 0
    octets: int = 0

    def add(self, other: "Amount") -> None:
        """Add what is elsewhere."""
        self.messages += other.messages
        self.octets += other.octets


@dataclass(slots=True)
class Statistics:
    """One folder's figures, or several folders' together."""

    total: Amount = field(default_factory=Amount)
    unread: int = 0
    oldest: float | None = None  # the day of arrival, UTC, in seconds since 1970
    newest: float | None = None
    months: dict[str, Amount] = field(default_factory=dict)  # by arrival, "2026-11", UTC
    ages: list[Amount] = field(default_factory=lambda: [Amount() for _ in AGE_NAMES])
    largest: list[tuple[int, str]] = field(default_factory=list)  # a heap: octets and "cur/NAME"
    senders: dict[str, Amount] = field(default_factory=dict)

    def add(self, other: "Statistics", prefix: str = "") -> None:
        """Take in what is elsewhere; prefix: where its largest messages are."""
        self.total.add(other.total)
        self.unread += other.unread
        times = [each for each in (self.oldest, other.oldest) if each is not None]
        self.oldest = min(times, default=None)
        times = [each for each in (self.newest, other.newest) if each is not None]
        self.newest = max(times, default=None)
        for month, amount in other.months.items():
            self.months.setdefault(month, Amount()).add(amount)
        for mine, amount in zip(self.ages, other.ages, strict=True):
            mine.add(amount)
        for octets, name in other.largest:
            keep_largest(self.largest, octets, prefix + name)
        for sender, amount in other.senders.items():
            self.senders.setdefault(sender, Amount()).add(amount)
        forget_rare(self.senders)


class Calendar:
    """Months as whole numbers, found quickly."""

    def __init__(self, now: float) -> None:
        """now: up to when; a month more is kept for clocks that are ahead."""
        self.now = now
        year = time.gmtime(now).tm_year
        self.names = [f"{each}-{month:02d}" for each in range(1995, year + 2) for month in range(1, 13)]
        self._starts = [_start_of(name) for name in self.names]

    def name(self, at: float) -> str:
        """Return the month of a moment."""
        return self.names[max(bisect_right(self._starts, at) - 1, 0)]


def collect(  # Long because its loop, run for every message, calls little of ours
    folder: Directory, calendar: Calendar, *, senders: bool
) -> Iterator[Statistics | Looked]:
    """Look at a folder's messages; the figures come last. OSError.

    senders: read each message's header, too.
    """
    found = Statistics()
    messages: dict[int, int] = defaultdict(int)  # by day of arrival: what is asked for follows from it
    octets: dict[int, int] = defaultdict(int)
    unread, least, named = 0, -1, _SIZE.search
    for part in PARTS:
        opened = folder.enter(part) if senders else None
        count, new = 0, part == "new"
        for entry in entries(folder, part):
            name = entry.name
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue  # a mail reader was faster
            if status.st_mode & 0o170000 != S_IFREG or name[0] == ".":
                continue
            # S= counts; most often it says the same, which is told sooner than it is read.
            match = None if f",S={status.st_size}," in name else named(name)
            size = status.st_size if match is None else int(match[1])
            day = status.st_mtime_ns // _DAY_NS
            messages[day] += 1
            octets[day] += size
            unread += new or "S" not in name.rpartition(":2,")[2]
            if size > least:
                keep_largest(found.largest, size, f"{part}/{name}")
                least = found.largest[0][0] if len(found.largest) == LARGEST else -1
            if opened is not None and (sender := sender_of(opened, name)):
                found.senders.setdefault(sender, Amount()).add(Amount(1, size))
                forget_rare(found.senders)
            count += 1
            if count == _LOOKED:
                yield Looked(count)
                count = 0
        yield Looked(count)
    found.unread = unread
    for day in sorted(messages):
        _add_day(found, day, Amount(messages[day], octets[day]), calendar)
    yield found


def _add_day(found: Statistics, day: int, amount: Amount, calendar: Calendar) -> None:
    at = float(day * DAY_S)
    found.total.add(amount)
    found.months.setdefault(calendar.name(at), Amount()).add(amount)
    found.ages[bisect_right(AGES, int(calendar.now // DAY_S) - day)].add(amount)
    found.oldest = at if found.oldest is None else found.oldest
    found.newest = at


def keep_largest(largest: list[tuple[int, str]], octets: int, name: str) -> None:
    """Keep a message if it is one of the largest."""
    if len(largest) < LARGEST:
        heappush(largest, (octets, name))
    elif octets > largest[0][0]:
        heappushpop(largest, (octets, name))


def forget_rare(senders: dict[str, Amount]) -> None:
    """Keep memory bounded: forget who sent least, if there are too many."""
    if len(senders) <= 2 * SENDERS:
        return
    least_first = sorted(senders, key=lambda each: senders[each].octets)
    for sender in least_first[: len(senders) - SENDERS]:
        del senders[sender]


def _start_of(month: str) -> float:
    year, number = month.split("-")
    days = (int(year) - 1970) * 365 + (int(year) - 1969) // 4
    leap = int(year) % 4 == 0  # 2100 is far
    lengths = (31, 28 + leap, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
    return float(DAY_S * (days + sum(lengths[: int(number) - 1])))
