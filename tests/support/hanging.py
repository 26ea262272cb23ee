"""Servers that hang: their processes are stopped, and go on when they are let."""

import os
import signal
from pathlib import Path

from tests.support.polling import wait_for


def let_hang(pid: int) -> None:
    """Stop a process; return when it is. SIGCONT lets it go on."""
    os.kill(pid, signal.SIGSTOP)
    wait_for(lambda: _states(pid) <= {"T", "t"}, f"the stop of process {pid}")


def _states(pid: int) -> set[str]:
    threads = Path(f"/proc/{pid}/task").iterdir()
    return {(thread / "stat").read_text().rpartition(")")[2].split()[0] for thread in threads}
