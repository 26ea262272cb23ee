import os
import time
from xml.etree import ElementTree

import pytest

from scripts.stats import main
from tests.support.scripting import new_maildir, runner

NOW = int(time.time())


@pytest.fixture
def stats(capfd):
    return runner(main, capfd)


@pytest.fixture
def users(tmp_path):
    for user, octets in (("alice", 3000), ("bob", 2_000_000)):
        maildir = new_maildir(tmp_path / "mail" / user, ".Work")
        message = maildir / f"cur/{NOW}.x,S={octets}:2,S"
        message.write_bytes(b"From: <eve@example.org>\n\n")
        os.utime(message, (NOW - 400 * 86_400,) * 2)  # imported today
        (maildir / f".Work/new/{NOW}.y,S=5").touch()
    return tmp_path / "mail"


def rows(text):
    return [line.split() for line in text.splitlines()]


def test_one_maildir_is_shown_by_folder(users, stats):
    result = stats(users / "bob")

    assert result.code == 0
    table = rows(result.out)
    assert table[0] == ["folder", "messages", "unread", "size", "latest"]
    assert table[1][:5] == ["INBOX", "1", "0", "1.9", "MiB"]
    assert table[2][:5] == ["Work", "1", "1", "5", "octets"]
    assert table[3][:5] == ["all", "2", "2", "1", "1.9"]
    growth = [row for row in table if row and row[0][:2] == "20"]
    assert len(growth) == 14  # those without mail, too
    assert growth[0][1:4] == ["1", "1.9", "MiB"]
    assert growth[1][1] == "0"


def test_many_are_shown_by_user(users, stats):
    result = stats("--all", "--mailboxes", f"{users}/{{user}}", "--senders", "--top", "1")

    table = rows(result.out)
    assert [row[:2] for row in table[1:3]] == [["bob", "2"], ["all", "2"]]
    assert ["eve@example.org", "2", "1.9", "MiB"] in table


def test_facts_of_each_folder_and_of_all(users, stats):
    result = stats("--all", "--mailboxes", f"{users}/{{user}}", "--json")

    *facts, total = result.facts
    assert sorted((fact["user"], fact["folder"], fact["octets"]) for fact in facts) == [
        ("alice", "INBOX", 3000),
        ("alice", "Work", 5),
        ("bob", "INBOX", 2_000_000),
        ("bob", "Work", 5),
    ]
    assert (total["kind"], total["maildirs"]) == ("total", 2)
    assert (total["messages"], total["octets"]) == (4, 2_003_010)
    assert total["largest"][0]["name"].startswith(f"{users}/bob: INBOX: cur/")
    assert total["ages"]["3 years"]["messages"] == 2


def test_a_chart_that_is_valid_whatever_names_there_are(users, stats, tmp_path):
    new_maildir(users / "bob/.<b>&'x")

    result = stats(users / "bob", "--svg", tmp_path / "chart.svg", "--senders")

    assert result.code == 0
    svg = ElementTree.parse(tmp_path / "chart.svg").getroot()
    texts = [each.text for each in svg.iter("{http://www.w3.org/2000/svg}text")]
    assert {"Mail by month of arrival", "Folders", "INBOX", "<b>&'x", "eve@example.org"} <= set(texts)
    assert max(float(each.get("width", "0")) for each in svg.iter("{http://www.w3.org/2000/svg}rect")) == 760


def test_a_chart_that_cannot_be_written(users, stats, tmp_path):
    result = stats(users / "bob", "--svg", tmp_path / "none/chart.svg")

    assert result.code == 73
    assert "No such file or directory" in result.err


def test_an_empty_maildir(tmp_path, stats):
    result = stats(new_maildir(tmp_path / "bob"), "--svg", tmp_path / "chart.svg")

    assert result.code == 0
    assert rows(result.out)[1] == ["INBOX", "0", "0", "0", "octets", "never"]


def test_a_name_cannot_paint_on_the_terminal(tmp_path, stats):
    maildir = new_maildir(tmp_path / "bob")
    (maildir / "cur/1\x1b[31m.x:2,").touch()

    assert "\\x1b[31m" in stats(maildir).out


def test_dry_run_is_the_same(tmp_path, capfd):
    maildir = new_maildir(tmp_path / "bob")

    dry, wet = (runner(main, capfd)(maildir, *flags) for flags in (["--dry-run"], []))

    assert (dry.code, dry.out) == (0, wet.out)
