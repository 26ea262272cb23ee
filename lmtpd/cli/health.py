"""What is wrong with a running server, judged by one reading of its figures."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from lmtpd.cli.readings import Reading

RECENT_S = 300.0  # a failure of the last five minutes is one of now


class Health(IntEnum):
    """The exit codes that monitoring knows (Nagios, Icinga, Sensu)."""

    OK = 0
    WARNING = 1
    CRITICAL = 2


@dataclass(frozen=True, slots=True)
class Complaint:
    """One thing that is not as it should be."""

    health: Health
    text: str


# The causes of 4xx that are the machine's or ours, and what to do.
_CAUSES = {
    "ledger": (
        Health.CRITICAL,
        "the ledger cannot be written: mail is deferred; see the log, and lmtpd doctor",
    ),
    "disk_full": (Health.CRITICAL, "the disk is full: mail is deferred"),
    "bug": (Health.CRITICAL, "a bug defers mail: the log has its traceback"),
    "storage": (Health.CRITICAL, "the file system fails: mail is deferred; the log's detail has its words"),
    "lookup": (
        Health.CRITICAL,
        "recipients cannot be looked up: mail is deferred; see lmtpd explain ADDRESS",
    ),
    "mailbox_unusable": (Health.WARNING, "a mailbox cannot be used: its mail is deferred; see the log"),
    "file_system": (Health.CRITICAL, "a file system keeps failing and is left alone: its mail is deferred"),
    "free_space": (Health.CRITICAL, "less is free than limits.free_... ask for: mail is deferred"),
    "mailbox_busy": (Health.WARNING, "a mailbox does not answer: its mail is deferred; see the log"),
    "too_late": (Health.WARNING, "deliveries took longer than delivery.deadline_s"),
}


def complaints(reading: Reading) -> Iterator[Complaint]:
    """Find what is wrong, the worst first."""
    yield from sorted(_found(reading), key=lambda complaint: -complaint.health)


def _found(reading: Reading) -> Iterator[Complaint]:
    yield from _workers(reading)
    yield from _space(reading)
    yield from _events(reading)
    for outcome in ("deferred",):
        for cause, at in reading.by("delivery_last_timestamp_seconds", "cause", outcome=outcome).items():
            if cause in _CAUSES and reading.at - at < RECENT_S:
                health, text = _CAUSES[cause]
                yield Complaint(health, f"{text} (last {reading.at - at:.0f} s ago)")


def _workers(reading: Reading) -> Iterator[Complaint]:
    workers, wanted = reading.total("workers"), reading.total("workers_wanted")
    if not workers:
        yield Complaint(Health.CRITICAL, "no worker accepts connections")
    elif workers < wanted:
        yield Complaint(Health.WARNING, f"{workers:.0f} of {wanted:.0f} workers accept connections")
    connections, limit = reading.total("connections"), reading.total("connections_limit")
    if connections > limit:
        yield Complaint(Health.CRITICAL, f"{connections:.0f} connections, over the limit of {limit:.0f}")
    elif connections > 0.9 * limit:
        yield Complaint(Health.WARNING, f"{connections:.0f} connections, close to the limit of {limit:.0f}")


def _events(reading: Reading) -> Iterator[Complaint]:
    for name, since in sorted(reading.by("events_oldest_timestamp_seconds", "receiver").items()):
        if since and reading.at - since > RECENT_S and reading.total("events_failing", receiver=name):
            waiting = reading.total("events_queued", receiver=name)
            text = f"the events' receiver {name} does not take them: {waiting:,.0f} wait; see the log"
            yield Complaint(Health.WARNING, text)


def _space(reading: Reading) -> Iterator[Complaint]:
    for name, what in (("free_ratio", "space"), ("free_inodes_ratio", "inodes")):
        for place, ratio in reading.by(name, "place").items():
            if ratio < 0.10:
                health = Health.CRITICAL if ratio < 0.02 else Health.WARNING
                yield Complaint(health, f"{ratio:.1%} of the {what} of the {place} file system is free")
