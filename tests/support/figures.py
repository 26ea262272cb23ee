"""The figures that a real server shows, as Prometheus would read them."""

from functools import partial

from prometheus_client.parser import text_string_to_metric_families

from lmtpd.server.exporter import fetch
from tests.support.polling import wait_for
from tests.support.server import Server

Samples = dict[tuple[str, frozenset[str]], float]


def samples(address: str | tuple[str, int]) -> Samples:
    """Ask the process that shows the metrics: values by name, without "lmtpd_", and the labels' values."""
    text = fetch(address, accept="", timeout_s=10).decode()
    return {
        (sample.name.removeprefix("lmtpd_"), frozenset(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def figures(server: Server) -> Samples:
    """Return all figures of a server."""
    return wait_for(partial(samples_or_none, str(server.state / "metrics.sock")), "the metrics")


def samples_or_none(address: str | tuple[str, int]) -> Samples:
    """Ask for them; nothing where nobody answers at this moment."""
    try:
        return samples(address)
    except (ConnectionRefusedError, FileNotFoundError):
        return {}  # not yet, or a reload is replacing the process that answers


def figure(server: Server, name: str, *labels: str) -> float:
    """Return one of them, 0 if it was never counted."""
    return figures(server).get((name, frozenset(labels)), 0.0)


def wait_for_figure(server: Server, value: float, name: str, *labels: str) -> None:
    """Wait until one has a value: workers hand theirs over from time to time."""
    wait_for(lambda: figure(server, name, *labels) == value, f"{name} {labels} = {value}", every_s=0.05)
