"""The metrics of a real server: counted over all workers, and past the end of each."""

import os
import signal
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from lmtpd.report.metrics import METRICS, PHASES
from lmtpd.server.exporter import fetch
from tests.support.figures import figures, samples, samples_or_none, wait_for_figure
from tests.support.lmtp_client import LmtpClient
from tests.support.polling import wait_for
from tests.support.server import Server, free_port

pytestmark = [pytest.mark.system]

RECEIVED = b"Received: by mx.example.net (Postfix) id 4XYZ; Tue, 24 Nov 2020 10:00:00 +0000\r\n"
MESSAGE = RECEIVED + b"Subject: x\r\n\r\nhello\r\n"
ME = "me@example.org"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path) as server:
        yield server


def deliver(server: Server, *recipients: str) -> None:
    with server.client() as client:
        assert {reply.code for reply in client.deliver(ME, recipients, MESSAGE)} == {250}
        client.quit()


def workers_of(server: Server) -> list[int]:
    return [int(pid) for pid in server.log.split("workers=")[-1].split('"')[1].split()]


def test_every_delivery_is_counted_by_whichever_worker(server: Server):
    threads = [threading.Thread(target=deliver, args=(server, "a@x.example")) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    deliver(server, "a@x.example", "b@x.example")

    wait_for_figure(server, 10, "deliveries_total", "delivered", "2xx", "")
    # Each worker counts one after the other, and may be asked in between.
    wait_for_figure(server, 9, "messages_total")
    wait_for_figure(server, 9, "queue_age_seconds_count")
    wait_for_figure(server, 9 * len(MESSAGE.replace(b"\r\n", b"\n")), "message_octets_sum")
    for phase in PHASES:
        wait_for_figure(server, 9, "phase_seconds_count", phase)
    found = figures(server)
    assert sum(value for (name, _), value in found.items() if name == "connections_accepted_total") >= 9
    assert found["workers", frozenset()] == found["workers_wanted", frozenset()] == 2


def test_counters_survive_the_death_of_a_worker_and_a_reload(tmp_path: Path):
    config = f'[[listen]]\nunix = "{tmp_path}/l.sock"\n[server]\nworkers = 2\n'
    with Server(tmp_path, config=config, listen=()) as server:
        deliver(server, "a@x.example")
        wait_for_figure(server, 1, "messages_total")

        for pid in workers_of(server):
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: server.log.count("worker_died") == 2, "both deaths")
        wait_for_figure(server, 2, "workers")
        deliver(server, "a@x.example")
        wait_for_figure(server, 2, "messages_total")
        (tmp_path / "lmtpd.toml").write_text(config.replace("workers = 2", "workers = 3"))
        server.reload()
        deliver(server, "a@x.example")

        wait_for_figure(server, 3, "messages_total")
        wait_for_figure(server, 3, "workers_wanted")
        wait_for_figure(server, 2, "events_total", "worker_died", "error")
        wait_for_figure(server, 1, "events_total", "reloaded", "notice")


def test_port_instead_of_a_socket(tmp_path: Path):
    port = free_port()
    flags = ["--set", f"metrics.tcp=127.0.0.1:{port}"]
    with Server(tmp_path, flags=flags) as server:
        address = ("127.0.0.1", port)
        before = wait_for(partial(samples_or_none, address), "the metrics")
        deliver(server, "a@x.example")

        wait_for(lambda: samples(address)["messages_total", frozenset()] == 1, "one message", every_s=0.05)

        assert before["messages_total", frozenset()] == 0
        assert not (server.state / "metrics.sock").exists()


def test_refusals_aborts_and_retries(server: Server):
    body = MESSAGE + b"x" * 1000 + b"\r\n"
    with server.client() as client:
        client.envelope(ME, ["a@x.example"])
        client.command("DATA")
        client.send(body)
        client.close()  # in the middle
    wait_for_figure(server, 1, "aborts_total", "receive")
    for _ in range(2):
        with server.client() as client:
            assert client.deliver(ME, ["b@x.example"], body)[0].code == 250
            client.reset()  # the reply was read, but nothing proves it
        wait_for(lambda: " to=<b@x.example>" in server.log, "the report")
    with server.client() as client:
        assert client.deliver(ME, [".hidden@x.example"], body)[0].code in (501, 550)

    wait_for_figure(server, 1, "retries_recognised_total")
    wait_for_figure(server, 1, "deliveries_total", "dropped", "", "client_gone")
    wait_for_figure(server, 1, "deliveries_total", "recognised", "2xx", "")


def test_gauges_of_connections(server: Server):
    def open_ones() -> float:
        found = figures(server)
        return sum(value for (name, _), value in found.items() if name == "connections")

    clients: list[LmtpClient] = [server.client() for _ in range(3)]
    wait_for(lambda: open_ones() == 3, "three connections")
    for client in clients:
        client.quit()
    wait_for(lambda: open_ones() == 0, "no connection")


def test_switched_off_means_that_nobody_listens(tmp_path: Path):
    with Server(tmp_path, flags=["--set", "metrics.serve=false"]) as server:
        deliver(server, "a@x.example")

        assert not (server.state / "metrics.sock").exists()


def test_place_that_cannot_be_had_costs_no_mail(tmp_path: Path):
    with Server(tmp_path, flags=["--set", "metrics.unix=/nowhere/metrics.sock"]) as server:
        wait_for(lambda: "metrics_died" in server.log, "the warning")
        deliver(server, "a@x.example")

        assert 'how="/nowhere/metrics.sock: No such file or directory"' in server.log


def test_every_metric_of_the_table_is_shown(server: Server):
    deliver(server, "a@x.example")
    wait_for_figure(server, 1, "messages_total")

    text = fetch(str(server.state / "metrics.sock"), accept="", timeout_s=10).decode()

    for metric in METRICS:
        assert f"# TYPE {metric.exported} {metric.kind}\n" in text
