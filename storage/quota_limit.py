"""What a mailbox may hold and what it holds: two numbers each, octets and messages. Pure values.

Three ways to write a limit are read: ours ("2G,100000M"), the first line of a `maildirsize` file
("2147483648S,100000C") and Dovecot's quota rules ("*:storage=2G:messages=100000"). 0 is no limit in each.
"""

import re
from dataclasses import dataclass
from typing import Self

# As Dovecot, which counts in signed 64 bit.
LARGEST = 2**63 - 1

_FACTORS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}  # binary, as Dovecot's
_SIZE = re.compile(r"([0-9]+) ?([KMGT]?)(?:I?B)?", re.IGNORECASE | re.ASCII)
_COUNT = re.compile(r"([0-9]+) ?M?", re.IGNORECASE | re.ASCII)
_HEADER_ITEM = re.compile(r"([0-9]+)([SC])", re.ASCII)
_ALLOWED = (
    'must be a size, and behind a comma a number of messages, such as "2G", "2G,100000M" or "0,100000M"'
    " (K, M, G and T are powers of 1024; 0 means no limit)"
)
_BAD_RULE = 'must be a rule for all folders such as "*:storage=2G:messages=100000"'


class QuotaSyntaxError(ValueError):
    """A limit that cannot be read; the message says what is allowed."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What is in a mailbox, or is to be put there or taken away."""

    octets: int
    messages: int

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(self.octets + other.octets, self.messages + other.messages)

    def __sub__(self, other: "Usage") -> "Usage":
        return Usage(self.octets - other.octets, self.messages - other.messages)


NOTHING = Usage(0, 0)


@dataclass(frozen=True, slots=True)
class QuotaLimit:
    """What a mailbox may hold; 0 for no limit of that kind."""

    octets: int = 0
    messages: int = 0

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read "2G,100000M" (the second number counts messages), or a `maildirsize` header.

        A lone "100000M" is a size. Raise QuotaSyntaxError.
        """
        items = [item.strip() for item in text.split(",")]
        if any(_HEADER_ITEM.fullmatch(item) for item in items):
            return cls._of_header_items(items)
        size = _SIZE.fullmatch(items[0])
        count = _COUNT.fullmatch(items[1]) if len(items) == 2 else None
        if size is None or len(items) > 2 or (len(items) == 2 and count is None):
            raise QuotaSyntaxError(_ALLOWED)
        octets = int(size[1]) * _FACTORS[size[2].upper()]
        return cls._checked(octets, int(count[1]) if count else 0)

    @classmethod
    def parse_header(cls, line: str) -> Self:
        """Read the first line of a `maildirsize` file as mail readers do: nothing in it is an error."""
        found = {letter: int(number) for number, letter in _HEADER_ITEM.findall(line)}
        return cls(min(found.get("S", 0), LARGEST), min(found.get("C", 0), LARGEST))

    @classmethod
    def parse_rule(cls, rule: str) -> Self:
        """Read one of Dovecot's quota rules for all folders: "*:storage=1G:messages=10".

        `storage` without a unit is in KiB, `bytes` in octets. Raise QuotaSyntaxError.
        """
        pattern, *settings = rule.split(":")
        found = {"octets": 0, "messages": 0}
        for setting in settings:
            name, _, value = setting.partition("=")
            kind = "messages" if name == "messages" else "octets"
            size = _SIZE.fullmatch(value)
            if name not in ("storage", "bytes", "messages") or size is None:
                raise QuotaSyntaxError(_BAD_RULE)
            factor = _FACTORS["K"] if name == "storage" and not size[2] else _FACTORS[size[2].upper()]
            found[kind] = int(size[1]) * factor
        if pattern not in ("*", "?") or not settings:
            raise QuotaSyntaxError(_BAD_RULE)
        return cls._checked(found["octets"], found["messages"])

    @classmethod
    def _of_header_items(cls, items: list[str]) -> Self:
        found: dict[str, int] = {}
        for item in items:
            match = _HEADER_ITEM.fullmatch(item)
            if match is None or match[2] in found:
                raise QuotaSyntaxError(_ALLOWED)
            found[match[2]] = int(match[1])
        return cls._checked(found.get("S", 0), found.get("C", 0))

    @classmethod
    def _checked(cls, octets: int, messages: int) -> Self:
        if octets > LARGEST or messages > LARGEST:
            raise QuotaSyntaxError(f"must be at most {LARGEST}")
        return cls(octets, messages)

    def __bool__(self) -> bool:
        """Whether there is any limit."""
        return bool(self.octets or self.messages)

    def __str__(self) -> str:
        """Write it as `parse` reads it, the size in the largest unit that leaves no rest."""
        unit = max((unit for unit in _FACTORS if self.octets % _FACTORS[unit] == 0), key=_FACTORS.__getitem__)
        size = f"{self.octets // _FACTORS[unit]}{unit}" if self.octets else "0"
        return f"{size},{self.messages}M" if self.messages else size

    def header(self) -> str:
        """Write the first line of a `maildirsize` file, without its line end."""
        size = f"{self.octets}S" if self.octets or not self.messages else ""
        count = f"{self.messages}C" if self.messages else ""
        return ",".join(filter(None, (size, count)))

    def allows(self, usage: Usage) -> bool:
        """Tell whether a mailbox may hold this much; exactly the limit is allowed."""
        return (not self.octets or usage.octets <= self.octets) and (
            not self.messages or usage.messages <= self.messages
        )

    def share(self, usage: Usage) -> float:
        """Return how full a mailbox is, of octets or messages whichever is fuller; 1.0 is full."""
        shares = (
            used / limit
            for used, limit in ((usage.octets, self.octets), (usage.messages, self.messages))
            if limit
        )
        return max(shares, default=0.0)


UNLIMITED = QuotaLimit()


def size_text(octets: int) -> str:
    """Write a size for people, in the powers of 1024 that limits are written in: "1.6 GiB"."""
    size, unit = float(octets), "octets"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if size < 1024:
            break
        size, unit = size / 1024, larger
    return f"{size:.0f} {unit}" if unit == "octets" else f"{size:.1f} {unit}"
