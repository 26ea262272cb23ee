"""What scripts print: a line of text for people or one JSON object for each fact, as it comes.

JSON is one object a line, so that a report on a million messages needs no memory, here or at the reader's.
"""

import json
import sys
from collections.abc import Callable

from scripts.shell.crew import Fact

Text = Callable[[Fact], str]


class Printer:
    """Prints facts, on standard output unless told otherwise."""

    def __init__(self, *, as_json: bool, text: Text, on_stderr: bool = False) -> None:
        """text: how people read a fact; an empty one is not printed."""
        self._as_json = as_json
        self._text = text
        self._on_stderr = on_stderr

    def fact(self, fact: Fact) -> None:
        """Print one fact."""
        # Asked each time: while there is a bar on the terminal, what is written goes above it.
        stream = sys.stderr if self._on_stderr else sys.stdout
        # Not click.echo, which flushes each line.
        if self._as_json:
            stream.write(json.dumps(fact) + "\n")
        elif line := self._text(fact):
            stream.write(line + "\n")


def shown(text: object) -> str:
    """Make a name safe for a terminal: a user may have put a line end or a colour into it."""
    written = str(text)
    return written if written.isprintable() else ascii(written)[1:-1]


def counted(count: int, noun: str) -> str:
    """Write "1 message", "2 messages"."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")
