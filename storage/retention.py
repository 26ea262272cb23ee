"""How long mail is kept in which folder: rules read, and messages chosen by them. Pure.

    Trash=30d            what came into the folder more than 30 days ago goes
    Junk=14d,500M,1000   and beyond the newest 500 MiB, or the newest 1,000 messages
    Lists/*=1y           all folders below Lists

The first rule that names a folder counts. A pattern never means the INBOX: that must be named.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Self

from storage.listing import INBOX
from storage.messages import MessageFile

_AGE = re.compile(r"([0-9]{1,6})([hdwy])")
_SIZE = re.compile(r"([0-9]{1,15})([KMGT])")
_COUNT = re.compile(r"[0-9]{1,12}")
_MICROSECONDS = re.compile(r"[0-9]+\.[^.,:]*?M([0-9]{1,9})")
_SECONDS = {"h": 3600, "d": 86_400, "w": 7 * 86_400, "y": 365 * 86_400}
_OCTETS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_ALLOWED = (
    "write FOLDER=LIMIT[,LIMIT...]; a limit is an age (12h, 30d, 8w, 2y), a size (500M, 2G) or a number of "
    "messages (1000)"
)
# Before 1973, or later than tomorrow: such a number is no time in a name.
_FIRST_S = 100_000_000
_DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Kept:
    """One message and what the rules ask of it."""

    message: MessageFile
    octets: int
    arrived_s: float  # in this folder


@dataclass(frozen=True, slots=True)
class Rule:
    """What is kept in the folders that a pattern means. None: no limit of that kind."""

    pattern: str
    age: str = ""
    age_s: int | None = None
    size: str = ""
    octets: int | None = None
    messages: int | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read one rule. ValueError says what is allowed."""
        pattern, separator, limits = text.rpartition("=")
        if not separator or not pattern:
            raise ValueError(_ALLOWED)
        found: dict[str, str] = {}
        for limit in limits.split(","):
            kind = _kind(limit.strip())
            if kind in found:
                raise ValueError(f"two limits of one kind; {_ALLOWED}")
            found[kind] = limit.strip()
        age, size = found.get("age", ""), found.get("size", "")
        return cls(
            INBOX if pattern.upper() == INBOX else pattern,
            age,
            int(age[:-1]) * _SECONDS[age[-1]] if age else None,
            size,
            int(size[:-1]) * _OCTETS[size[-1]] if size else None,
            int(found["count"]) if "count" in found else None,
        )

    def means(self, folder: str) -> bool:
        """Tell whether it is about this folder."""
        return self.pattern == folder or (folder != INBOX and fnmatchcase(folder, self.pattern))

    def expired(self, kept: Iterable[Kept], now_s: float) -> Iterator[tuple[Kept, str]]:
        """Yield the messages that are to go, the oldest first, each with the reason."""
        octets = 0
        going = []
        newest_first = sorted(kept, key=_order, reverse=True)
        for number, each in enumerate(newest_first, start=1):
            octets += each.octets
            if self.age_s is not None and each.arrived_s < now_s - self.age_s:
                going.append((each, f"it came more than {self.age} ago"))
            elif self.messages is not None and number > self.messages:
                going.append((each, f"there {'is' if self.messages == 1 else 'are'} {self.messages} newer"))
            elif self.octets is not None and octets > self.octets:
                going.append((each, f"it and the newer ones have more than {self.size}"))
        yield from reversed(going)


def rule_for(rules: Sequence[Rule], folder: str) -> Rule | None:
    """Return the first rule about a folder."""
    return next((rule for rule in rules if rule.means(folder)), None)


def arrival(message: MessageFile, now_s: float) -> int | None:
    """Return when a message came into its folder, as its name has it; None if it has no time one can believe.

    A reader that moves or copies it there names it anew. Its modification time stays, and is older.
    """
    saved_s = message.saved_s
    return saved_s if saved_s is not None and _FIRST_S < saved_s < now_s + _DAY_S else None


def _order(each: Kept) -> tuple[float, int, str]:
    # Of one second, the microseconds in the name decide, as Dovecot and lmtpd write them.
    microseconds = _MICROSECONDS.match(each.message.name)
    return each.arrived_s, int(microseconds[1]) if microseconds else 0, each.message.name


def _kind(limit: str) -> str:
    for kind, pattern in (("age", _AGE), ("size", _SIZE), ("count", _COUNT)):
        if pattern.fullmatch(limit):
            return kind
    raise ValueError(f"{limit!r} is no limit; {_ALLOWED}")
