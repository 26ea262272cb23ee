"""Running admin scripts in the three ways that tests need: here, as an administrator does, to be killed."""

import io
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass

from scripts import check, clean, make, stats
from tests.support.requirements import ROOT

MAIN: dict[str, Callable[[Sequence[str]], int]] = {
    "check": check.main, "clean": clean.main, "make": make.main, "stats": stats.main,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Done:
    """What came of a run."""

    code: int
    out: str
    err: str


def run(name: str, *arguments: object) -> Done:
    """Run a script in this process: starting Python takes longer than its work."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = MAIN[name]([str(argument) for argument in arguments])
    assert "bug:" not in err.getvalue(), err.getvalue()
    return Done(code, out.getvalue(), err.getvalue())


def start(name: str, *arguments: object) -> subprocess.Popen[bytes]:
    """Start a script as an administrator does."""
    code = f"import sys; from scripts.{name} import main; sys.exit(main())"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, start_new_session=True)


def fork(name: str, *arguments: object) -> int:
    """Run a script in a copy of this process, a group of its own; return its id."""
    pid = os.fork()
    if pid == 0:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os._exit(MAIN[name]([str(argument) for argument in arguments]))
    return pid
