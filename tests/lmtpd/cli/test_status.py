"""`lmtpd status` and the pictures of `lmtpd top`."""

import io
import json

import pytest
from rich.console import Console

from lmtpd.__main__ import main
from lmtpd.cli.readings import parsed
from lmtpd.cli.status import duration, octets
from lmtpd.cli.top import Window, plot
from lmtpd.report.exposition import exposition
from lmtpd.report.metrics import Figures, Histogram, Histograms
from tests.support.polling import wait_for
from tests.support.server import Server


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("status")) as server:
        with server.client() as client:
            replies = client.deliver("me@x.example", ["a@x.example", "b@x.example"], b"Subject: x\r\n\r\n")
            assert [reply.code for reply in replies] == [250, 250]
            client.quit()
        wait_for((server.state / "metrics.sock").exists, "the metrics")
        wait_for(lambda: facts(server)["messages"] == 1, "the count of the message")
        yield server


def facts(server):
    with pytest.MonkeyPatch.context() as patch:
        printed: list[str] = []
        patch.setattr("click.echo", printed.append)
        main(["status", "--state", str(server.state), "--json"])
    return json.loads(printed[0])


def test_status_tells_what_was_done(server, capsys):
    assert main(["status", "--state", str(server.state)]) in (0, 1)

    output = capsys.readouterr().out
    assert "workers        2 of 2\n" in output
    assert "messages       1, " in output
    assert "delivered      2\n" in output
    assert "record         half within" in output


def test_status_in_json(server):
    found = facts(server)

    assert found["health"] in ("ok", "warning")  # the disk of the tests may be rather full
    assert found["deliveries"] == {
        "delivered": 2,
        "recognised": 0,
        "deferred": 0,
        "refused": 0,
        "dropped": 0,
    }
    assert 0 < found["phases_s"]["sync"]["p50"] < 60
    assert found["up_s"] > 0


def test_no_server_is_critical(tmp_path, capsys):
    assert main(["status", "--state", str(tmp_path)]) == 2
    text = capsys.readouterr().out
    assert main(["status", "--state", str(tmp_path), "--json"]) == 2
    found = json.loads(capsys.readouterr().out)

    why = f"the server does not answer at {tmp_path}/metrics.sock: No such file or directory"
    assert text == f"CRITICAL  {why}\n"
    assert found == {"health": "critical", "complaints": [why]}


def test_metrics_that_are_off_cannot_be_read(tmp_path, capsys):
    assert main(["status", "--state", str(tmp_path), "--set", "metrics.serve=false"]) == 78

    assert "metrics.serve is off" in capsys.readouterr().err


def test_top_draws_and_ends(server, capsys):
    assert main(["top", "--state", str(server.state), "--interval", "0.05", "--count", "2"]) == 0

    output = capsys.readouterr().out
    assert "of 1000 connections" in output
    assert "delivered" in output
    assert "publish" in output


def test_top_without_a_server_says_so(tmp_path, capsys):
    assert main(["top", "--state", str(tmp_path)]) == 69

    assert "does not answer" in capsys.readouterr().err


def window(*counts):
    readings = []
    for number, count in enumerate(counts):
        figures: Figures = {
            "deliveries": {("delivered", "2xx", ""): count},
            "connections": {("0",): 1.0},
            "connections_limit": {(): 10.0},
            "workers": {(): 1.0},
        }
        histograms: Histograms = {"phase_seconds": {("sync",): Histogram({"0.01": count}, count * 0.008)}}
        readings.append(parsed(exposition(figures, histograms, accept="")[1].decode(), at=100 + 2 * number))
    result = Window(readings[0])
    for each in readings[1:]:
        result.add(each)
    return result


def drawn(picture):
    console = Console(width=100, file=io.StringIO(), record=True)
    console.print(picture)
    return console.export_text()


def test_rates_are_those_between_readings():
    assert window(10, 30, 30, 34).rates("deliveries_total") == [10.0, 0.0, 2.0]


def test_counter_of_a_server_that_was_started_anew_has_no_negative_rate():
    assert window(10, 2).rates("deliveries_total") == [0.0]


def test_picture_has_rates_sums_and_plots():
    lines = drawn(window(10, 30, 30, 34).picture()).splitlines()

    (delivered,) = [line for line in lines if line.startswith("delivered")]
    assert delivered.split() == ["delivered", "2.0", "34", "█", "▂"]
    (sync,) = [line for line in lines if line.startswith("sync")]
    assert sync.split()[:3] == ["sync", "7.5", "9.95"]
    assert any("nothing is wrong" in line for line in lines)


def test_picture_of_one_reading():
    assert "delivered" in drawn(window(10).picture())


@pytest.mark.parametrize(
    "values, bars", [([], ""), ([0, 0], "  "), ([0, 1, 1000], " ▁█"), ([4, 2, 1], "█▄▂"), ([5], "█")]
)
def test_plots(values, bars):
    assert plot(values) == bars


def test_spans_and_amounts_for_people():
    assert [duration(each) for each in (5, 65, 3665, 90_000)] == [
        "0 min 5 s",
        "1 min 5 s",
        "1 h 1 min",
        "1 d 1 h",
    ]
    assert [octets(each) for each in (999, 1500, 2.5e6, 3e9, 4e12)] == [
        "999 octets",
        "1.5 kB",
        "2.5 MB",
        "3 GB",
        "4 TB",
    ]
