"""A running server's figures as `status` and `top` read them: the endpoint's text, taken apart."""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

from lmtpd.cli.failures import Failure
from lmtpd.config import Config
from lmtpd.server.exporter import fetch

TIMEOUT_S = 5.0
# A reload replaces the process that answers: for some milliseconds nobody does.
TRIES = 3
PAUSE_S = 0.2

Labels = frozenset[tuple[str, str]]


class NotRunning(Failure):
    """Nobody answers where the figures should be."""


@dataclass(frozen=True, slots=True)
class Reading:
    """All samples of one moment; names without lmtpd_."""

    at: float  # time.time()
    samples: Mapping[str, Mapping[Labels, float]] = field(default_factory=dict)

    def of(self, name: str, **labels: str) -> float | None:
        """Add up the samples that have those labels; None: there is none."""
        wanted = labels.items()
        found = [value for own, value in self.samples.get(name, {}).items() if wanted <= own]
        return sum(found) if found else None

    def total(self, name: str, **labels: str) -> float:
        """Add up the samples that have those labels."""
        return self.of(name, **labels) or 0.0

    def by(self, name: str, label: str, **labels: str) -> dict[str, float]:
        """Add up samples for each value of a label."""
        wanted = labels.items()
        result: dict[str, float] = {}
        for own, value in self.samples.get(name, {}).items():
            if wanted <= own:
                key = dict(own).get(label, "")
                result[key] = result.get(key, 0.0) + value
        return result


def read(config: Config) -> Reading:
    """Ask the server.  Raises Failure."""
    address = config.metrics_address
    if address is None:
        raise Failure("metrics.serve is off: there is nothing to read", os.EX_CONFIG)
    shown = address if isinstance(address, str) else str(config.metrics)
    try:
        text = _fetch(address)
    except PermissionError as exc:
        raise Failure(f"{shown}: {exc.strerror}: metrics.mode allows it to the server's group", 77) from exc
    except OSError as exc:
        why = exc.strerror or str(exc)
        raise NotRunning(f"the server does not answer at {shown}: {why}", os.EX_UNAVAILABLE) from exc
    return parsed(text.decode(), at=time.time())


def _fetch(address: str | tuple[str, int]) -> bytes:
    for _ in range(TRIES - 1):
        try:
            return fetch(address, accept="text/plain", timeout_s=TIMEOUT_S)
        except (ConnectionRefusedError, FileNotFoundError):
            time.sleep(PAUSE_S)
    return fetch(address, accept="text/plain", timeout_s=TIMEOUT_S)


def parsed(text: str, *, at: float) -> Reading:
    """Take the text of an endpoint apart."""
    samples: dict[str, dict[Labels, float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            name = sample.name.removeprefix("lmtpd_")
            samples.setdefault(name, {})[frozenset(sample.labels.items())] = sample.value
    return Reading(at, samples)


def quantile(
    reading: Reading, name: str, part: float, *, since: Reading | None = None, **labels: str
) -> float:
    """Return the bound below which that part of a histogram's observations lies; 0.0: there is none.

    since: only what was observed behind that reading.  As Prometheus does, by a straight line in the bucket.
    """
    buckets = reading.by(f"{name}_bucket", "le", **labels)
    before = since.by(f"{name}_bucket", "le", **labels) if since is not None else {}
    counts = sorted((float(bound), count - before.get(bound, 0.0)) for bound, count in buckets.items())
    if not counts or counts[-1][1] <= 0:
        return 0.0
    rank = part * counts[-1][1]
    low = lower_count = 0.0
    for bound, count in counts:
        if count >= rank and count > lower_count:
            if bound == float("inf"):
                return low
            return low + (bound - low) * (rank - lower_count) / (count - lower_count)
        low, lower_count = bound, count
    return low
