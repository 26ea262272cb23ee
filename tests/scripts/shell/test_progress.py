import io
import os
import pty
import subprocess
import sys

from rich.console import Console

from scripts.shell.progress import OnTerminal, Silent, meter
from tests.support.requirements import ROOT
from tests.support.scripting import new_maildir


def test_how_far_how_fast_and_how_long(monkeypatch):
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=120, color_system=None)

    with OnTerminal(console) as progress:
        progress.expect(4)
        progress.add_messages(1200)
        progress.add_maildir()
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
        silent.add_messages(1)
        silent.add_maildir()

    assert isinstance(silent, Silent)
    assert capsys.readouterr().err == ""


def test_what_is_printed_goes_where_it_belongs(tmp_path):
    maildir = new_maildir(tmp_path / "bob")
    ours, theirs = pty.openpty()
    code = "import sys; from scripts.stats import main; sys.exit(main())"
    try:
        done = subprocess.run(
            [sys.executable, "-c", code, str(maildir), "--json"],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=theirs, check=False,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
        )  # fmt: skip
    finally:
        os.close(theirs)
    seen = b""
    try:
        while piece := os.read(ours, 65536):
            seen += piece
    except OSError:
        pass  # the other end is closed
    os.close(ours)

    assert done.returncode == 0
    assert [line[:12] for line in done.stdout.splitlines()] == [b'{"maildir": ', b'{"kind": "to']
    assert b"Maildirs" in seen
    assert b'"kind"' not in seen
