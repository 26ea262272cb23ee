"""The bar on a terminal."""

import io
import re

from rich.console import Console

from scripts.shell.progress import OnTerminal


def shown(*words: tuple[int, float] | None, maildirs: int) -> str:
    """Return the last line on a terminal after these words: messages with a share, or None for a Maildir."""
    screen = io.StringIO()
    with OnTerminal(Console(file=screen, force_terminal=True, width=100)) as meter:
        meter.expect(maildirs)
        for word in words:
            if word is None:
                meter.add_maildir()
            else:
                meter.add_messages(*word)
        meter._progress.refresh()
        lines = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", screen.getvalue())
    return re.split(r"[\r\n]+", lines.strip())[-1]


def test_the_only_maildir_moves_the_bar_as_it_goes():
    none, half = shown((1000, 0.0), maildirs=1), shown((1000, 0.5), maildirs=1)

    assert "1,000 messages, " in half
    assert "╸" in half or "╺" in half, "a bar that has begun"
    assert none != half


def test_of_many_maildirs_only_whole_ones_count():
    assert "0/2 Maildirs" in shown((1000, 0.5), maildirs=2)
    assert "1/2 Maildirs" in shown((1000, 0.5), None, (5, 0.1), maildirs=2)
    assert "1/1 Maildirs" in shown((1000, 0.5), None, maildirs=1)
