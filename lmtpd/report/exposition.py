"""Figures in the formats of Prometheus and OpenMetrics."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector, CollectorRegistry

from lmtpd.report.metrics import METRICS, Figures, Histogram, Histograms
from lmtpd.report.metrics import Metric as Described


def exposition(figures: Figures, histograms: Histograms, *, accept: str) -> tuple[str, bytes]:
    """Return content type and body, in the format that an Accept field asks for."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Snapshot(figures, histograms))
    encode, content_type = choose_encoder(accept)
    return content_type, encode(registry)


class _Snapshot(Collector):
    """What the registry asks for: every metric of the table, also one that nothing was counted for yet."""

    def __init__(self, figures: Figures, histograms: Histograms) -> None:
        self._figures = figures
        self._histograms = histograms

    def describe(self) -> Iterator[Metric]:
        """Say nothing: else the registry would collect twice."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Yield each metric with its values."""
        for described in METRICS:
            if described.kind == "histogram":
                yield _histogram(described, self._histograms.get(described.name, {}))
                continue
            family = (CounterMetricFamily if described.kind == "counter" else GaugeMetricFamily)(
                described.exported, described.help, labels=described.labels
            )
            values = self._figures.get(described.name, {})
            if described.kind == "counter" and not described.labels:
                values = values or {(): 0.0}
            for labels, value in sorted(values.items()):
                family.add_metric(labels, value)
            yield family


def _histogram(described: Described, values: dict[tuple[str, ...], Histogram]) -> HistogramMetricFamily:
    family = HistogramMetricFamily(described.exported, described.help, labels=described.labels)
    bounds = [f"{bound:g}" for bound in described.bounds]
    for labels, histogram in sorted(values.items()):
        total = 0.0
        buckets = []
        for bound in (*bounds, "+Inf"):
            total += histogram.buckets.get(bound, 0.0)
            buckets.append((bound, total))
        family.add_metric(labels, buckets, histogram.sum)
    return family
