"""From `[limits]` to the limits on recipients, and what they say to an address."""

import os
from collections.abc import Iterator

from lmtpd.config import Config
from lmtpd.config.limits import Limits
from lmtpd.delivery.admission import Admission, Floor, Rates
from lmtpd.delivery.breaker import Breaker, Fault
from lmtpd.delivery.rates import Buckets
from lmtpd.delivery.reception import Refusals
from lmtpd.delivery.slots import Slots
from lmtpd.recipients.mailbox import Mailbox, Step
from lmtpd.recipients.owners import Recipients
from lmtpd.report.records import Level
from lmtpd.report.reporter import Reporter
from storage.disk import Disk
from storage.free_space import Free, FreeSpace

# `limits.KEY`, and by what it counts.
_RATES = {
    "sender": "the envelope sender",
    "client": "the client's address",
    "domain": "the recipient's domain",
}


def build_admission(
    config: Config, directory: Recipients, quotas: Refusals | None, *, disk: Disk, reporter: Reporter
) -> Admission | None:
    """Make the limits; None if all are off, so that they cost nothing."""
    limits = config.limits
    slots = Slots(limits.mailbox_concurrency, limits.mailbox_slow_s) if limits.mailbox_concurrency else None
    breaker = _breaker(limits, reporter) if limits.file_system_faults else None
    floor = _floor(limits)
    rates = _rates(limits)
    if not any((slots, breaker, floor, rates)):
        return None
    return Admission(
        directory,
        quotas=quotas,
        slots=slots,
        breaker=breaker,
        floor=floor,
        free_space=FreeSpace(disk),
        rates=rates,
        device=_device_of(config.mailboxes.path.root) if config.mailboxes.path is not None else None,
    )


def explain_limits(config: Config, mailbox: Mailbox) -> Iterator[Step]:
    """Tell what the limits ask of a recipient, and what of it can be seen from here."""
    limits = config.limits
    if limits.mailbox_concurrency:
        yield Step(
            "limit: mailbox",
            f"451 4.2.1 while {limits.mailbox_concurrency} deliveries of a worker are at work in it,"
            f" one for {limits.mailbox_slow_s} s",
        )
    if limits.file_system_faults:
        yield Step(
            "limit: file system",
            f"451 4.3.0 or 452 4.3.1 for {limits.file_system_pause_s} s"
            f" after {limits.file_system_faults} faults in a row",
        )
    if (floor := _floor(limits)) is not None:
        yield Step("limit: free space", _explain_floor(floor, mailbox))
    for name, by in _RATES.items():
        if per_minute := getattr(limits, f"{name}_recipients_per_minute"):
            yield Step(f"limit: {name} rate", f"{per_minute} recipients a minute and worker, by {by}")


def _breaker(limits: Limits, reporter: Reporter) -> Breaker:
    def opened(device: int, fault: Fault) -> None:
        reporter.event(
            Level.ALERT,
            "file_system_left_alone",
            device=_written(device),
            error=fault.detail,
            pause_s=limits.file_system_pause_s,
        )

    def closed(device: int) -> None:
        reporter.event(Level.NOTICE, "file_system_in_use_again", device=_written(device))

    return Breaker(limits.file_system_faults, limits.file_system_pause_s, opened=opened, closed=closed)


def _floor(limits: Limits) -> Floor | None:
    floor = Floor(limits.free_octets, limits.free_percent, limits.free_inodes)
    return floor if floor != Floor(0, 0, 0) else None


def _rates(limits: Limits) -> Rates | None:
    rates = Rates(
        sender=_buckets(limits.sender_recipients_per_minute),
        client=_buckets(limits.client_recipients_per_minute),
        domain=_buckets(limits.domain_recipients_per_minute),
    )
    return rates if rates != Rates() else None


def _buckets(per_minute: int) -> Buckets | None:
    return Buckets(per_minute) if per_minute else None


def _device_of(path: str) -> int | None:
    try:
        return os.stat(path).st_dev
    except OSError:
        return None  # each mailbox tells its own at its first delivery


def _written(device: int) -> str:
    """Write a device as mountinfo does."""
    return f"{os.major(device)}:{os.minor(device)}"


def _explain_floor(floor: Floor, mailbox: Mailbox) -> str:
    free = _free(mailbox)
    if free is None:
        return "cannot be told"
    inodes = "" if free.inodes is None else f", {free.inodes} inodes"
    why = floor.why_too_low(free, 0)
    return f"452 4.3.1: {why}" if why else f"enough: {free.octets} octets, {free.percent:.1f} %{inodes}"


def _free(mailbox: Mailbox) -> Free | None:
    where = next((path for path in (mailbox.maildir.path, mailbox.maildir.root) if os.path.isdir(path)), "/")
    try:
        return FreeSpace(Disk()).of(where, where)
    except OSError:
        return None
