import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from scripts.shell import sending
from scripts.shell.crew import Fact
from scripts.shell.sending import Sender, filled_in, post, run_command


class Site(HTTPServer):
    """A web server that keeps what it is sent and answers as told."""

    def __init__(self) -> None:
        self.received: list[list[Fact]] = []
        self.answers: list[int] = []
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/x"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        assert isinstance(self.server, Site)
        self.server.received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(self.server.answers.pop(0) if self.server.answers else 204)
        self.end_headers()

    def log_message(self, format, *args):  # noqa: A002 - the library's name
        pass


@pytest.fixture
def site():
    with Site() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def facts(count):
    return [{"kind": "arrived", "number": number} for number in range(count)]


def test_all_that_is_added_is_sent_before_the_end(site):
    sender = Sender(post(site.url), together=3, pause_s=0)
    for fact in facts(10):
        sender.add(fact)
    sender.close()

    assert [fact for some in site.received for fact in some] == facts(10)
    assert max(map(len, site.received)) <= 3


def test_a_server_in_trouble_is_tried_again(site, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    site.answers += [503, 502]

    post(site.url)(facts(1))

    assert site.received == [facts(1)] * 3


@pytest.mark.parametrize("answers, tries", [([404], 1), ([503, 503, 503], 3)])
def test_what_could_not_be_sent_is_said(site, monkeypatch, answers, tries):
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    site.answers += answers

    with pytest.raises(ValueError, match=r"2 changes are lost"):
        post(site.url)(facts(2))

    assert len(site.received) == tries


def test_nobody_there(site, monkeypatch, capsys):
    monkeypatch.setattr(time, "sleep", lambda seconds: None)

    sender = Sender(post("http://127.0.0.1:1/"), together=1, pause_s=0)
    sender.add(facts(1)[0])
    sender.close()

    assert "1 changes are lost" in capsys.readouterr().err


def test_not_faster_than_allowed(monkeypatch):
    sent: list[Fact] = []
    paused: list[float] = []
    monkeypatch.setattr(time, "sleep", paused.append)
    monkeypatch.setattr(time, "monotonic", lambda: 5.0)

    sender = Sender(sent.extend, together=1, pause_s=0.5)
    for fact in facts(3):
        sender.add(fact)
    sender.close()
    sender._thread.join()

    assert sent == facts(3)
    assert paused == [0.5, 0.5, 0.5]


def test_what_is_too_much_is_dropped_and_counted(monkeypatch, capsys):
    monkeypatch.setattr(sending, "WAITING", 2)
    started, go = threading.Event(), threading.Event()
    sent: list[Fact] = []

    def slowly(some):
        started.set()
        go.wait(10)
        sent.extend(some)

    sender = Sender(slowly, together=1, pause_s=0)
    sender.add(facts(1)[0])
    started.wait(10)
    for fact in facts(5):
        sender.add(fact)
    go.set()
    sender.close()

    assert len(sent) == 3
    assert capsys.readouterr().err.splitlines() == [
        "more changes than can be sent: some are dropped",
        "3 changes were not sent",
    ]


def test_a_program_that_fails_is_said(capfd):
    with pytest.raises(ValueError, match="ended with 3"):
        run_command([sys.executable, "-c", "raise SystemExit(3)"])(facts(1))


def test_a_value_is_not_looked_at_again():
    fact: Fact = {"name": "{path}", "path": "p", "kind": "k"}

    assert filled_in(["{name}", "x{path}{kind}y", "{other}"], fact) == ["{path}", "xpky", "{other}"]
