import io
import subprocess

from rich.console import Console

from scripts.shell.progress import Silent, meter
from scripts.shell.terminal import OnTerminal
from tests.support.scripting import new_maildir, on_terminal


def test_how_far_how_fast_and_how_long(monkeypatch):
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=120, color_system=None)

    with OnTerminal(console, units="Maildirs", items="messages") as progress:
        progress.expect(4)
        progress.add(1200)
        progress.advance()
        progress._progress.refresh()
        shown = out.getvalue()

    assert "1/4" in shown
    assert "Maildirs" in shown
    assert "1,200 messages, " in shown
    assert "/s" in shown
    assert "-:--:--" in shown or "0:00:" in shown  # the time that remains


def test_no_terminal_no_progress(capsys):
    with meter() as silent:
        silent.expect(1)
        silent.add(1)
        silent.advance()

    assert isinstance(silent, Silent)
    assert capsys.readouterr().err == ""


def test_what_is_printed_goes_where_it_belongs(tmp_path):
    maildir = new_maildir(tmp_path / "bob")

    done, seen = on_terminal("stats", str(maildir), "--json", stdout=subprocess.PIPE)

    assert done.returncode == 0
    assert [line[:12] for line in done.stdout.splitlines()] == [b'{"maildir": ', b'{"kind": "to']
    assert b"Maildirs" in seen
    assert b'"kind"' not in seen


def test_lines_on_the_same_terminal_stand_above_the_bar(tmp_path):
    maildir = new_maildir(tmp_path / ("bob" * 40))  # wider than the terminal: broken by it, not by us
    (maildir / "cur" / "stray").mkdir()

    done, seen = on_terminal("check", str(maildir), stdout=None)

    assert done.returncode == 1
    assert b"stray: a directory among the messages\r\n" in seen
    assert b"Maildirs" in seen
