"""Ending a script at one of its steps, as a power cut, `kill -9` or Ctrl-C does."""

import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

from tests.support.polling import wait_for

Main = Callable[[Sequence[str]], int]

# What changes a directory, as the interpreter names it to those who listen; of files, making them.
_STEPS = {
    f"os.{name}"
    for name in ("remove", "rename", "rmdir", "mkdir", "link", "symlink", "chmod", "chown", "utime")
}  # fmt: skip


def ended_before(step: int, main: Main, arguments: Sequence[object], how: signal.Signals) -> int | None:
    """Run a script in a copy of this process, ended before its Nth step; None: it had fewer, and ended well.

    The signal goes to the whole group, as from a terminal: SIGINT (the exit code is returned) or SIGKILL.
    """
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            os.setsid()
            sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - until the process ends
            sys.addaudithook(_hook(step, how))
            code = main([str(argument) for argument in arguments])
        finally:
            os._exit(code)
    status = wait_for(lambda: _ended(pid), "the script to end")
    code = os.waitstatus_to_exitcode(status[0])
    return None if code == 0 else code


def _ended(pid: int) -> tuple[int] | None:
    ended, status = os.waitpid(pid, os.WNOHANG)
    return (status,) if ended else None


def _hook(
    step: int, how: signal.Signals
) -> Callable[[str, tuple[Any, ...]], None]:  # Any: as audit hooks have it
    left = step

    def count(event: str, arguments: tuple[Any, ...]) -> None:  # Any: each event has its own
        nonlocal left
        if event in _STEPS or (event == "open" and arguments[2] & os.O_EXCL):
            left -= 1
            if left == 0:
                os.killpg(0, how)
                # A worker leaves SIGINT to the first process, and is ended by that.
                while signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
                    signal.pause()

    return count
