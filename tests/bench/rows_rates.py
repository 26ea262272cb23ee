"""Rows (a) to (d): how many messages a second, in rounds of floor, Dovecot, lmtpd."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from tests.bench.bench import Bench, Rate
from tests.bench.programs import Floor, Load, SmtpSource
from tests.bench.results import DOVECOT, FLOOR, OURS, Line, Target

KIB4 = 4096
MB10 = 10_000_000
RECIPIENTS = 50  # as many as Postfix puts into one transaction


@dataclass(frozen=True, slots=True)
class RateRow:
    """A load for all, and how much of it each system gets: enough for some seconds."""

    row: str
    what: str
    load: Callable[[int], Rate]
    floor: Callable[[int], Floor]
    messages: Mapping[str, int]
    warm_up: int
    unit: str = "messages/s"
    targets: tuple[Target, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)


def of_both(*, dovecot: float, floor: float | None = None) -> tuple[Target, ...]:
    """Promise at least these ratios."""
    targets = [Target(at_least=dovecot, of=DOVECOT)]
    return (*targets, *([Target(at_least=floor, of=FLOOR)] if floor else []))


def _eight_clients(messages: int) -> Rate:
    return SmtpSource(8, 4, messages, KIB4)


def _fifty_recipients(messages: int) -> Rate:
    return SmtpSource(8, 4, messages, KIB4, recipients=RECIPIENTS)


SMALL = RateRow(
    "a",
    "4 KiB, 8 clients with 4 connections each",
    _eight_clients,
    lambda count: Floor(32, count, KIB4, 8),
    {FLOOR: 30_000, DOVECOT: 4_000, OURS: 16_000},
    warm_up=320,
    targets=of_both(dovecot=6.0, floor=0.5),
)
ROWS = (
    SMALL,
    RateRow(
        "a",
        "the same, a new connection for each message",
        lambda messages: SmtpSource(8, 4, messages, KIB4, keep=False),
        lambda count: Floor(32, count, KIB4, 8),
        {FLOOR: 30_000, DOVECOT: 4_000, OURS: 12_000},
        warm_up=320,
    ),
    RateRow(
        "a",
        "the same, commands in groups and RSET between, as Postfix does",
        lambda messages: Load(32, messages, KIB4, 8),
        lambda count: Floor(32, count, KIB4, 8),
        {FLOOR: 30_000, DOVECOT: 4_000, OURS: 16_000},
        warm_up=320,
    ),
    RateRow(
        "b",
        "4 KiB, one connection, one after the other",
        lambda messages: SmtpSource(1, 1, messages, KIB4),
        lambda count: Floor(1, count, KIB4, 1),
        {FLOOR: 8_000, DOVECOT: 1_200, OURS: 4_000},
        warm_up=50,
        targets=of_both(dovecot=4.0),
    ),
    RateRow(
        "c",
        "10 MB, one connection",
        lambda messages: SmtpSource(1, 1, messages, MB10),
        lambda count: Floor(1, count, MB10, 1),
        {FLOOR: 40, DOVECOT: 24, OURS: 32},
        warm_up=2,
        targets=of_both(dovecot=1.5, floor=0.8),
    ),
    RateRow(
        "c",
        "10 MB, four connections",
        lambda messages: SmtpSource(4, 1, messages, MB10),
        lambda count: Floor(4, count, MB10, 4),
        {FLOOR: 60, DOVECOT: 32, OURS: 48},
        warm_up=4,
        targets=of_both(dovecot=1.5, floor=0.8),
    ),
    # smtp-source writes 4 KiB at a time, as Postfix does, and takes its share of the processors; load.c hands
    # over a whole message at once, so that what remains is the server's own.
    RateRow(
        "c",
        "the same, in large blocks",
        lambda messages: Load(4, messages, MB10, 4),
        lambda count: Floor(4, count, MB10, 4),
        {FLOOR: 60, DOVECOT: 32, OURS: 48},
        warm_up=4,
    ),
    RateRow(
        "d",
        "50 recipients each",
        _fifty_recipients,
        lambda count: Floor(32, count, KIB4, 400),
        {FLOOR: 40_000, DOVECOT: 160, OURS: 800},
        warm_up=32,
        unit="deliveries/s",
        targets=of_both(dovecot=10.0),
    ),
    RateRow(
        "d",
        'the same, single_instance = "link"',
        _fifty_recipients,
        lambda count: Floor(32, count, KIB4, 400),
        {FLOOR: 40_000, DOVECOT: 160, OURS: 800},
        warm_up=32,
        unit="deliveries/s",
        targets=of_both(dovecot=10.0),
        settings={"delivery.single_instance": "link"},
    ),
)


def rates(letter: str) -> tuple[Callable[[Bench], None], ...]:
    """Return what measures the lines of a row, one each."""
    return tuple(partial(_measure, row) for row in ROWS if row.row == letter)


def _measure(row: RateRow, bench: Bench) -> None:
    line = bench.line(Line(row.row, row.what, row.unit, row.targets))
    for _ in range(bench.rounds):
        if bench.has(FLOOR):
            timing = bench.floor(row.floor(_size(bench, row, FLOOR)))
            bench.note(line, FLOOR, timing.rate)
        for make in bench.servers(row.settings):
            server = make()
            load = row.load(_size(bench, row, server.name))
            sample = bench.sample(server, row.load(row.warm_up), load)
            bench.note(line, server.name, sample.timing.rate)


def _size(bench: Bench, row: RateRow, system: str) -> int:
    """Return how many messages to send; a message of 10 MB is worth a thousand of 4 KiB."""
    count = row.messages[system]
    return max(row.warm_up, count // 8) if bench.quick else count
