"""`lmtpd web` in a real browser: on what a real server delivered, and on a day of generated mail."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote

import pytest
from selenium.webdriver.common.by import By

from lmtpd.__main__ import main
from tests.support.browsing import chromium
from tests.support.histories import HOSTILE_ID, generate
from tests.support.polling import wait_for
from tests.support.requirements import need
from tests.support.server import Server

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.xdist_group("chromium")]

MESSAGE = (
    b"Received: by mx.example.org (Postfix) id 4WebPage1; Tue, 24 Nov 2026 10:00:00 +0000\r\n"
    b"Message-ID: <seen@example.net>\r\n\r\nhello\r\n"
)
CHARTS = ("deliveries", "delays", "causes", "phases", "mailboxes")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    need("chromium", "chromedriver")
    with chromium(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@contextmanager
def serving(state) -> Iterator[str]:
    command = [sys.executable, "-m", "lmtpd", "web", "--state", str(state), "--on", "tcp:127.0.0.1:0"]
    command += ["--mailboxes", f"{state}/mail/{{user}}"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            line = process.stderr.readline()
            found = re.search(r"http://\S+", line)
            assert found, line
            yield found[0]
        finally:
            process.terminate()


def marks(browser, chart):
    return browser.find_elements(By.CSS_SELECTOR, f"#{chart} .mark")


def test_message_of_a_real_server_is_found_with_what_trace_says(tmp_path, browser, capsys):
    with Server(tmp_path) as server:
        with server.connect() as client:
            client.reply()
            for line in (b"LHLO x", b"MAIL FROM:<sue@example.net>", b"RCPT TO:<bob@example.org>", b"DATA"):
                client.send(line + b"\r\n")
                client.reply()
            client.send(MESSAGE + b".\r\n")
            assert client.reply().code == 250
        command = ["trace", "4WebPage1", "--json", "--state", str(server.state)]
        wait_for(lambda: main(command) == 0, "the history")
        capsys.readouterr()
        (row,) = json.loads(_traced(command, capsys))

        with serving(server.state) as address:
            browser.get(address)
            assert all(marks(browser, chart) for chart in CHARTS if chart != "causes")
            box = browser.find_element(By.NAME, "q")
            box.send_keys("4WebPage1")
            box.submit()
            wait_for(lambda: browser.find_elements(By.TAG_NAME, "article"), "the result")
            shown = {
                element.get_attribute("data-fact"): element.text
                for element in browser.find_elements(By.CSS_SELECTOR, "dd[data-fact]")
            }

    assert shown == {name: str(row[name]) for name in shown}
    assert set(shown) >= {
        "queue_id",
        "message_id",
        "mailbox",
        "file",
        "now",
        "octets",
        "reply",
        "transaction_id",
    }


def _traced(command, capsys):
    main(command)
    return capsys.readouterr().out


def test_every_chart_has_its_marks_and_nothing_hostile_runs(tmp_path, browser):
    generate(tmp_path / "history.db", 5000, days=0.99)
    with serving(tmp_path) as address:
        browser.get(address)
        counts = {chart: len(marks(browser, chart)) for chart in CHARTS}
        browser.get(f"{address}trace?q={quote(HOSTILE_ID, safe='')}")
        text, title = browser.find_element(By.TAG_NAME, "article").text, browser.title
        browser.get(f"{address}history/history?message_id={quote(HOSTILE_ID, safe='')}")
        data_text, data_title = browser.find_element(By.TAG_NAME, "body").text, browser.title

    assert counts["deliveries"] >= 48
    assert counts["delays"] >= 90
    assert (counts["causes"], counts["phases"], counts["mailboxes"]) == (5, 7, 6)
    assert HOSTILE_ID in text
    assert HOSTILE_ID in data_text
    assert "owned" not in (title, data_title)


def test_page_without_a_history_says_what_to_do(tmp_path, browser):
    with serving(tmp_path) as address:
        browser.get(address)
        text = browser.find_element(By.TAG_NAME, "main").text

    assert "No history yet" in text
    assert "lmtpd serve" in text
