"""The formats of Prometheus and OpenMetrics, held against their own checker."""

import subprocess

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as prometheus

from lmtpd.report.exposition import exposition
from lmtpd.report.metrics import METRICS, Histogram
from tests.support.requirements import need, program

OPEN_METRICS = "application/openmetrics-text;version=1.0.0"


def every_metric():
    figures = {
        metric.name: {tuple(f"{label} {number}" for label in metric.labels): number + 0.5}
        for number, metric in enumerate(METRICS)
        if metric.kind != "histogram"
    }
    histograms = {
        metric.name: {tuple(metric.labels): Histogram({metric.bucket(0): 3, "+Inf": 1}, 7.5)}
        for metric in METRICS
        if metric.kind == "histogram"
    }
    return figures, histograms


def test_promtool_finds_no_fault():
    need("promtool")
    _, text = exposition(*every_metric(), accept="")

    done = subprocess.run(
        [program("promtool"), "check", "metrics"], input=text, capture_output=True, check=False, timeout=30
    )

    # Octets are what mail calls bytes: RFC 5321, and this server's settings.
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")


@pytest.mark.parametrize("accept, parse", [("", prometheus), (OPEN_METRICS, open_metrics)])
def test_every_metric_comes_back_with_its_values(accept, parse):
    figures, histograms = every_metric()

    content_type, text = exposition(figures, histograms, accept=accept)
    samples = {
        (sample.name, frozenset(sample.labels.values())): sample.value
        for family in parse(text.decode())
        for sample in family.samples
    }

    assert content_type.startswith("application/openmetrics-text" if accept else "text/plain")
    for metric in METRICS:
        if metric.kind == "histogram":
            (labels,) = histograms[metric.name]
            assert samples[f"{metric.exported}_bucket", frozenset({*labels, "+Inf"})] == 4
            assert samples[f"{metric.exported}_sum", frozenset(labels)] == 7.5
            assert samples[f"{metric.exported}_count", frozenset(labels)] == 4
        else:
            ((labels, value),) = figures[metric.name].items()
            assert samples[metric.exported, frozenset(labels)] == value


def test_counters_without_labels_begin_with_zero():
    _, text = exposition({}, {}, accept="")

    assert b"\nlmtpd_messages_total 0.0\n" in text
    assert b"# TYPE lmtpd_deliveries_total counter\n" in text


def test_buckets_add_up():
    histogram = Histogram({"0.001": 1, "0.01": 2, "+Inf": 1}, 70.0)

    _, text = exposition({}, {"phase_seconds": {("sync",): histogram}}, accept="")

    lines = [line for line in text.decode().splitlines() if 'phase="sync"' in line]
    assert 'lmtpd_phase_seconds_bucket{le="0.0005",phase="sync"} 0.0' in lines
    assert 'lmtpd_phase_seconds_bucket{le="0.0025",phase="sync"} 1.0' in lines
    assert 'lmtpd_phase_seconds_bucket{le="60",phase="sync"} 3.0' in lines
    assert 'lmtpd_phase_seconds_bucket{le="+Inf",phase="sync"} 4.0' in lines
