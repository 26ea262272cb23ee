"""`lmtpd trace`."""

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lmtpd.__main__ import main
from storage.history import History, HistoryRow
from tests.support.polling import wait_for
from tests.support.requirements import ROOT

FILE = "1764000000.M1P2Q3Rabc.mx,S=10,W=12"


@pytest.fixture
def state(tmp_path):
    """A history with three deliveries, of which one can be found in its Maildir."""
    (tmp_path / "bob" / "new").mkdir(parents=True)
    (tmp_path / "bob" / "new" / FILE).touch()
    history = History(tmp_path / "history.db")
    history.add(
        [
            HistoryRow(
                at=time.time() - 7200,
                outcome="delivered",
                transaction_id="t1",
                queue_id="4XyZ12abcDz",
                message_id="<1@example.org>",
                sender="alice@example.org",
                recipient="bob@example.net",
                mailbox=str(tmp_path / "bob"),
                file=FILE,
                octets=10,
                reply="250 2.0.0 <bob@example.net> Saved t1",
                phases={"stage": 0.5},
            ),
            HistoryRow(
                at=time.time() - 60,
                outcome="refused",
                recipient="eve\x1b[31m@example.net",
                reply="550 5.1.1 No",
            ),
        ]
    )
    history.close()
    return tmp_path


@pytest.mark.parametrize(
    "query",
    ["4XyZ12abcDz", "<1@example.org>", "1@example.org", "alice@example.org", "BOB@example.net", FILE, "1d"],
)
def test_message_is_found(state, query, capsys):
    assert main(["trace", query, "--state", str(state)]) == os.EX_OK

    output = capsys.readouterr().out
    assert "delivered <alice@example.org> -> <bob@example.net>" in output
    assert f"    now          new/{FILE}\n" in output
    assert "    phases       stage 0.5 ms\n" in output


def test_newest_comes_first_and_limit_limits(state, capsys):
    assert main(["trace", "1d", "--state", str(state)]) == os.EX_OK
    both = capsys.readouterr().out
    assert main(["trace", "1d", "--limit", "1", "--state", str(state)]) == os.EX_OK
    newest = capsys.readouterr().out

    assert both.index("refused") < both.index("delivered")
    assert "refused" in newest
    assert "delivered" not in newest


def test_terminal_is_safe_from_what_peers_wrote(state, capsys):
    main(["trace", "1h", "--state", str(state)])

    output = capsys.readouterr().out
    assert "\x1b" not in output
    assert "<eve\\x1b[31m@example.net>" in output


def test_json_has_every_column_and_where_it_is(state, capsys):
    assert main(["trace", "4XyZ12abcDz", "--json", "--state", str(state)]) == os.EX_OK

    (row,) = json.loads(capsys.readouterr().out)
    assert row["queue_id"] == "4XyZ12abcDz"
    assert row["phases"] == {"stage": 0.5}
    assert row["now"] == f"new/{FILE}"


def test_nothing_found_is_1(state, capsys):
    assert main(["trace", "nothing\x1b", "--state", str(state)]) == 1

    output = capsys.readouterr()
    assert output.out == ""
    assert output.err == "lmtpd: nothing is known of nothing\\x1b\n"


def test_nothing_found_in_json_is_an_empty_list(state, capsys):
    assert main(["trace", "nothing", "--json", "--state", str(state)]) == 1

    assert json.loads(capsys.readouterr().out) == []


def test_no_history_is_said_with_its_path(tmp_path, capsys):
    assert main(["trace", "x", "--state", str(tmp_path)]) == os.EX_NOINPUT

    assert capsys.readouterr().err.startswith(f"lmtpd: the history cannot be read: {tmp_path}/history.db")


def test_broken_history_is_said(tmp_path, capsys):
    (tmp_path / "history.db").write_bytes(b"x" * 4096)

    assert main(["trace", "x", "--state", str(tmp_path)]) == os.EX_NOINPUT

    assert "history.db" in capsys.readouterr().err


def test_wrong_time_is_usage(tmp_path, capsys):
    assert main(["trace", "2026-13-40", "--state", str(tmp_path)]) == os.EX_USAGE

    assert "is no time" in capsys.readouterr().err


@pytest.fixture
def retried(tmp_path):
    """A message that was given up once, deferred once, and delivered to one of two recipients at last."""
    now = time.time()
    common: dict[str, Any] = {"queue_id": "4Q", "sender": "s@x"}
    history = History(tmp_path / "history.db")
    history.add(
        [
            HistoryRow(at=now - 30, outcome="dropped", recipient="a@x", cause="client_gone", **common),
            HistoryRow(at=now - 30, outcome="dropped", recipient="b@x", cause="client_gone", **common),
            HistoryRow(at=now - 20, outcome="deferred", recipient="a@x", message_id="<m@x>", **common),
            HistoryRow(at=now - 10, outcome="delivered", recipient="a@x", message_id="<m@x>", **common),
            HistoryRow(at=now - 5, outcome="delivered", recipient="a@x", queue_id="5Q", sender="s@x"),
        ]
    )
    history.close()
    return tmp_path


def test_attempts_are_numbered_for_each_recipient(retried, capsys):
    assert main(["trace", "4Q", "--state", str(retried)]) == os.EX_OK

    blocks = capsys.readouterr().out.split("\n\n")
    found = [
        (block.split()[1], block.split()[4], "attempt      " in block and block.split("attempt      ")[1][:6])
        for block in blocks
    ]
    assert found == [
        ("delivered", "<a@x>", "3 of 3"),
        ("deferred", "<a@x>", "2 of 3"),
        ("dropped", "<b@x>", False),
        ("dropped", "<a@x>", "1 of 3"),
    ]


def test_attempts_that_never_knew_the_message_id_are_found_by_it(retried, capsys):
    assert main(["trace", "<m@x>", "--json", "--state", str(retried)]) == os.EX_OK

    found = json.loads(capsys.readouterr().out)
    assert [(row["outcome"], row["recipient"], row["attempt"], row["attempts"]) for row in found] == [
        ("delivered", "a@x", 3, 3),
        ("deferred", "a@x", 2, 3),
        ("dropped", "a@x", 1, 3),
    ]


def test_query_may_be_missing_only_when_following(tmp_path, capsys):
    assert main(["trace", "--state", str(tmp_path)]) == os.EX_USAGE

    assert "Missing argument 'QUERY'" in capsys.readouterr().err


def _sleeps(pid):
    """Tell whether it waits for the clock, as it does nowhere else."""
    return "nanosleep" in Path(f"/proc/{pid}/wchan").read_text()


@pytest.mark.parametrize("query, expected", [(["a@x"], ["old", "t1", "t3"]), ([], ["t1", "t2", "t3"])])
def test_follow_tells_what_comes(tmp_path, query, expected):
    history = History(tmp_path / "history.db")
    history.add([HistoryRow(at=1.0, outcome="delivered", recipient="a@x", transaction_id="old")])
    command = [sys.executable, "-m", "lmtpd", "trace", *query, "--follow", "--json", "--state", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, text=True) as following:
        assert following.stdout is not None
        try:
            told = [json.loads(following.stdout.readline())] if query else []
            wait_for(partial(_sleeps, following.pid), "the pause behind what there was")
            for number, recipient in ((1, "a@x"), (2, "b@x"), (3, "A@X")):
                row = HistoryRow(at=2.0, outcome="refused", recipient=recipient, transaction_id=f"t{number}")
                history.add([row])
            told += [json.loads(following.stdout.readline()) for _ in expected[len(told) :]]
        finally:
            following.send_signal(signal.SIGINT)
        code = following.wait(20)
    history.close()

    assert [row["transaction_id"] for row in told] == expected
    assert code == 0
