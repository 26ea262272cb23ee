"""The table `[quota]`: what mailboxes may hold, what happens when they do, and who is told."""

import re
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BeforeValidator

from lmtpd.config import values
from lmtpd.config.section import PathText, Section
from storage.quota_limit import UNLIMITED, QuotaLimit

DAY_S = 86_400.0
MAILDIRSIZE = "maildirsize"
_FULL = re.compile(r"defer ([1-9][0-9]{0,2})d", re.ASCII)
_PERCENT = re.compile(r"([1-9][0-9]{0,2})%", re.ASCII)


@dataclass(frozen=True, slots=True)
class FolderQuota:
    """An exception for one folder: it does not count at all, or may hold more."""

    folder: str  # "A/B", as people see it
    extra: QuotaLimit | None  # None: it does not count

    def __str__(self) -> str:
        return f"{self.folder}:ignore" if self.extra is None else f"{self.folder}:+{self.extra}"


def parse_limit(value: object) -> QuotaLimit:
    """Accept a limit as text; 0 may also be a number."""
    if value == 0 and not isinstance(value, bool):
        return UNLIMITED
    return QuotaLimit.parse(values.text(value))


def parse_default(value: object) -> QuotaLimit | str:
    """Accept a limit, or the word for what each mailbox's own file says."""
    return MAILDIRSIZE if value == MAILDIRSIZE else parse_limit(value)


def parse_full(value: object) -> str:
    """Accept what a full mailbox is answered with."""
    if value not in ("defer", "reject") and not (isinstance(value, str) and _FULL.fullmatch(value)):
        raise ValueError(
            'must be "defer" (452), "reject" (552), or "defer 3d": 452 until a mailbox has been full for so'
            " many days (1 to 999), then 552"
        )
    return str(value)


def parse_folder(value: object) -> FolderQuota:
    """Accept an exception for a folder."""
    folder, colon, rule = values.text(value).rpartition(":")
    if not colon or not folder or "" in folder.split("/") or folder.upper() == "INBOX":
        raise ValueError('must be a folder and its rule, such as "Trash:+100M" or "Spam:ignore"')
    if rule == "ignore":
        return FolderQuota(folder, None)
    if not rule.startswith("+"):
        raise ValueError('must end in ":ignore" or in ":+" and a limit, such as "Trash:+100M"')
    extra = QuotaLimit.parse(rule.removeprefix("+"))
    if not extra:
        raise ValueError("adds nothing to the limit")
    return FolderQuota(folder, extra)


def parse_percent(value: object) -> int:
    """Accept a share of the limit."""
    match = _PERCENT.fullmatch(value) if isinstance(value, str) else None
    if match is None or int(match[1]) > 100:
        raise ValueError('must be a share of the limit from "1%" to "100%", in quotes')
    return int(match[1])


class Quota(Section):
    """What a mailbox may hold. A user's own limit, from his recipient source, precedes the default."""

    default: Annotated[QuotaLimit | Literal["maildirsize"], BeforeValidator(parse_default)] = UNLIMITED
    """What a mailbox may hold: octets (`K`, `M`, `G`, `T`), behind a comma messages; `"0"`: no
    limit; `"maildirsize"`: what the first line of each mailbox's file of that name says.
    """
    full: Annotated[str, BeforeValidator(parse_full)] = "defer"
    """What a full mailbox is answered: 452, 552, or 452 for some days and then 552."""
    folders: tuple[Annotated[FolderQuota, BeforeValidator(parse_folder)], ...] = ()
    """Exceptions: `"Trash:+100M"` lets this folder go beyond the limit by so much, `"Spam:ignore"`
    does not count it.
    """
    # "counted" as Dovecot does it; "free" as Courier does: neither Trash nor what is marked as deleted.
    deleted: Annotated[Literal["counted", "free"], values.choice("counted", "free")] = "counted"
    """Whether Trash and messages marked as deleted count, as for Dovecot, or not, as for Courier."""
    warnings: tuple[Annotated[int, BeforeValidator(parse_percent)], ...] = ()
    """Shares of the limit at which the owner is told."""
    warning_command: PathText | None = None
    """A program that is told instead, as `COMMAND ADDRESS PERCENT OCTETS MESSAGES LIMIT`."""
    # Maildirs.  Each takes a thread of one worker, and a watch of the kernel's for each directory in it.
    watch: Annotated[int, values.whole(0, 1000)] = 50
    """Mailboxes that are watched for deletions by mail readers."""
    # How old the count of a mailbox in use may be; 0: any age.
    sample_s: Annotated[int, values.whole(0, 31_536_000)] = 86_400
    """How old, in seconds, the count of a mailbox in use may be; `0`: any age."""

    @property
    def patience_s(self) -> float | None:
        """How long a mailbox may be full before mail for it is refused; None: for ever."""
        if self.full == "reject":
            return 0.0
        match = _FULL.fullmatch(self.full)
        return int(match[1]) * DAY_S if match else None

    @property
    def default_limit(self) -> QuotaLimit | None:
        """The limit of users who have none of their own; None: what their `maildirsize` says."""
        return self.default if isinstance(self.default, QuotaLimit) else None
