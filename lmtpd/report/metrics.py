"""Every metric by name: what is exported, what the documentation lists, and what the tally counts.

The rule: a metric that is not in this table does not exist.  Units are seconds and octets; a counter never
falls while the server runs, whatever becomes of its workers.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

Labels = tuple[str, ...]

PHASES = ("resolve", "receive", "filter", "stage", "sync", "record", "publish", "reply")

_PHASE_BOUNDS_S = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)
_AGE_BOUNDS_S = (
    0.1,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
    300.0,
    900.0,
    3600.0,
    14_400.0,
    86_400.0,
    432_000.0,
)
_SIZE_BOUNDS_OCTETS = tuple(float(1 << bits) for bits in (10, 12, 14, 16, 18, 20, 22, 24, 26))


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric, without the prefix lmtpd_; a counter's exported name ends in _total."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: Labels = ()
    bounds: tuple[float, ...] = ()  # of a histogram's buckets, without the last, which has none

    @property
    def exported(self) -> str:
        """The name under which Prometheus knows it."""
        return f"lmtpd_{self.name}{'_total' if self.kind == 'counter' else ''}"

    def bucket(self, value: float) -> str:
        """Name the bucket of a histogram that a value falls into."""
        place = bisect_left(self.bounds, value)
        return f"{self.bounds[place]:g}" if place < len(self.bounds) else "+Inf"


@dataclass(slots=True)
class Histogram:
    """Observations: how many in each bucket (not added up), and their sum."""

    buckets: dict[str, float] = field(default_factory=dict)
    sum: float = 0.0


# From a metric's name to its value for each combination of labels.
Figures = dict[str, dict[Labels, float]]
Histograms = dict[str, dict[Labels, Histogram]]

METRICS: tuple[Metric, ...] = (
    Metric(
        "deliveries", "counter", "Recipients by what became of their copy.", ("outcome", "reply", "cause")
    ),
    Metric(
        "delivery_last_timestamp_seconds",
        "gauge",
        "When there last was such an outcome.",
        ("outcome", "cause"),
    ),
    Metric("messages", "counter", "Messages whose end was received."),
    Metric(
        "message_octets",
        "histogram",
        "Octets of a message with LF line ends, without the fields added on top.",
        (),
        _SIZE_BOUNDS_OCTETS,
    ),
    Metric("retries_recognised", "counter", "Recipients who had the copy from an earlier attempt."),
    Metric("quota_refusals", "counter", "Recipients deferred or refused since a quota was reached."),
    Metric("refusals", "counter", "Whatever was refused that is no recipient, by cause.", ("cause",)),
    Metric(
        "aborts",
        "counter",
        "Messages that the client gave up, by phase: receive, barrier (before publishing), reply.",
        ("phase",),
    ),
    Metric(
        "phase_seconds", "histogram", "How long each phase of a message took.", ("phase",), _PHASE_BOUNDS_S
    ),
    Metric(
        "queue_age_seconds",
        "histogram",
        "Age of a message at its delivery, from its topmost Received field.",
        (),
        _AGE_BOUNDS_S,
    ),
    Metric(
        "events",
        "counter",
        "Lines of the log that are no recipient's, by name and level.",
        ("event", "level"),
    ),
    Metric("log_lines_dropped", "counter", "Lines that the log did not take in time."),
    Metric("history_rows_dropped", "counter", "Rows that the history could not take."),
    Metric("events_untaken", "gauge", "Events in the ledger that are not yet taken over, to be sent."),
    Metric("events_queued", "gauge", "Events that wait for a receiver.", ("receiver",)),
    Metric("events_queued_octets", "gauge", "Octets of events that wait for a receiver.", ("receiver",)),
    Metric(
        "events_oldest_timestamp_seconds",
        "gauge",
        "When the oldest event was queued that waits for a receiver; 0: none waits.",
        ("receiver",),
    ),
    Metric("events_sent", "counter", "Events that a receiver has taken.", ("receiver",)),
    Metric("events_failed", "counter", "Attempts at which a receiver took nothing.", ("receiver",)),
    Metric("events_dropped", "counter", "Events dropped since too much waited, or too long.", ("receiver",)),
    Metric("events_failing", "gauge", "1 if the last attempt at a receiver failed.", ("receiver",)),
    Metric("connections", "gauge", "Connections open now.", ("worker",)),
    Metric("connections_accepted", "counter", "Connections accepted.", ("worker",)),
    Metric("connections_limit", "gauge", "server.connections of the configuration."),
    Metric("workers", "gauge", "Workers that accept connections."),
    Metric("workers_wanted", "gauge", "server.workers of the configuration."),
    Metric("worker_cpu_seconds", "counter", "Processor time of the worker in that seat.", ("worker",)),
    Metric("worker_resident_octets", "gauge", "Memory of the worker in that seat.", ("worker",)),
    Metric("worker_threads", "gauge", "Threads of the worker in that seat.", ("worker",)),
    Metric("ledger_octets", "gauge", "Octets of the ledger's files."),
    Metric("ledger_records", "gauge", "Deliveries in the ledger: under way, or not known to be confirmed."),
    Metric("history_octets", "gauge", "Octets of the history's files."),
    Metric("history_rows", "gauge", "Rows of the history, about."),
    Metric("free_octets", "gauge", "Free space for the server's user.", ("place",)),
    Metric("free_ratio", "gauge", "Free part of the file system's space.", ("place",)),
    Metric("free_inodes_ratio", "gauge", "Free part of the file system's inodes.", ("place",)),
    Metric("start_timestamp_seconds", "gauge", "When the server was started."),
    Metric("load_timestamp_seconds", "gauge", "When its configuration was loaded last."),
    Metric(
        "info",
        "gauge",
        "Always 1; the labels tell the version and the policies.",
        ("version", "commit", "durability"),
    ),
)

BY_NAME: Mapping[str, Metric] = {metric.name: metric for metric in METRICS}

# What a client is told 4.2.2 or 5.2.2 for.
QUOTA_CAUSES = frozenset({"mailbox_full", "quota", "over_quota"})


def collected(entries: Iterable[tuple[Labels, float]]) -> tuple[Figures, Histograms]:
    """Add up what the sheets of a tally hold: counters and histograms are summed, moments are the latest."""
    figures: Figures = {}
    histograms: Histograms = {}
    for (name, *labels), value in entries:
        metric = BY_NAME.get(name)
        if metric is None:
            continue
        if metric.kind == "histogram":
            *own, bucket = labels
            histogram = histograms.setdefault(name, {}).setdefault(tuple(own), Histogram())
            if bucket == "sum":
                histogram.sum += value
            else:
                histogram.buckets[bucket] = histogram.buckets.get(bucket, 0.0) + value
        else:
            values = figures.setdefault(name, {})
            known = values.get(tuple(labels), 0.0)
            values[tuple(labels)] = known + value if metric.kind == "counter" else max(known, value)
    _derive(figures)
    return figures, histograms


def _derive(figures: Figures) -> None:
    """Fill in what the outcomes of deliveries tell by themselves."""
    deliveries = figures.setdefault("deliveries", {})
    recognised = [value for (outcome, *_), value in deliveries.items() if outcome == "recognised"]
    full = [value for (*_, cause), value in deliveries.items() if cause in QUOTA_CAUSES]
    figures["retries_recognised"] = {(): sum(recognised)}
    figures["quota_refusals"] = {(): sum(full)}
