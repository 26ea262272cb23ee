"""Servers that hang: their processes are stopped, and go on when they are let."""

import os
import signal
from contextlib import suppress
from pathlib import Path

from tests.support.polling import wait_for

# Stopped, or at its end: a child that ends while its parent is stopped is not waited for, and stays a zombie.
_AT_REST = frozenset("TtZX")


def let_hang(pid: int) -> None:
    """Stop a process; return when it is, or has ended meanwhile. SIGCONT lets it go on."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
    wait_for(lambda: _states(pid) <= _AT_REST, f"the stop of process {pid}")


def let_go_on(pid: int) -> None:
    """Let a process go on that is stopped; one that has ended needs it no more."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


def children_of(pid: int) -> list[int]:
    """Return the processes that a process has started by its first thread; zombies, too."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _states(pid: int) -> set[str]:
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
    except FileNotFoundError:
        return set()
    return {state for thread in threads if (state := _state(thread))}


def _state(thread: Path) -> str:
    try:
        return (thread / "stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""
