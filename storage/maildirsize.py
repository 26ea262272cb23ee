"""The text of a `maildirsize` file, Maildir++'s account of one mailbox. Pure.

    2147483648S,100000C          the limit
           81920           21    what was there when it was counted
    3071 1                       what came since
    -3071 -1                     what went

Many programs append to it, so nothing in it is an error: what cannot be trusted is counted anew.
"""

import re
from dataclasses import dataclass

from storage.quota_limit import LARGEST, NOTHING, UNLIMITED, QuotaLimit, Usage

NAME = "maildirsize"
# A file of this size is counted anew (README.maildirquota); Courier and Dovecot read no more than this.
FILE_OCTETS = 5120

_LINE = re.compile(rb"[ \t]*(-?[0-9]{1,19})[ \t]+(-?[0-9]{1,19})[ \t\r]*")


@dataclass(frozen=True, slots=True)
class Account:
    """What a file says."""

    limit: QuotaLimit
    usage: Usage
    lines: int  # behind the first; one right after it was counted
    is_sound: bool  # False: to be counted anew, whatever it says


UNREADABLE = Account(UNLIMITED, NOTHING, 0, is_sound=False)


def parse(text: bytes) -> Account:
    """Read a file, or the first FILE_OCTETS + 1 octets of it."""
    first, *lines = text.split(b"\n")
    if not lines:
        return UNREADABLE
    limit = QuotaLimit.parse_header(first.decode("ascii", "replace"))
    last = lines.pop()  # what stands behind the last line end: nothing, unless somebody was cut short
    usage = sum_of(lines)
    is_sound = (
        bool(lines)
        and not last
        and len(text) < FILE_OCTETS
        and usage is not None
        and 0 <= usage.octets <= LARGEST
        and 0 <= usage.messages <= LARGEST
    )
    return Account(limit, usage or NOTHING, len(lines), is_sound)


def sum_of(lines: list[bytes]) -> Usage | None:
    """Add up lines without their line ends; None if one of them is none."""
    octets = messages = 0
    for line in lines:
        match = _LINE.fullmatch(line)
        if match is None:
            return None
        octets += int(match[1])
        messages += int(match[2])
    return Usage(octets, messages)


def line(usage: Usage) -> bytes:
    """Write what came, or with a minus went."""
    return b"%d %d\n" % (usage.octets, usage.messages)


def whole(limit: QuotaLimit, usage: Usage) -> bytes:
    """Write a file that was just counted."""
    return limit.header().encode("ascii") + b"\n" + line(usage)
