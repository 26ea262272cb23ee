"""Servers in milliseconds: a process that has imported everything once, and forks a fresh server each time.

What is forked runs the program's own entry (`python -m MODULE ARGUMENTS`), so it is the real composition root
in a process, session and process group of its own; only the interpreter's start and the imports are saved.
The nursery adopts whatever a killed server leaves behind, so `wait` returns when nothing of it is alive.

Run as a program it is that process; `Nursery` is the test's handle on it.
"""

import ctypes
import gc
import importlib
import json
import os
import pkgutil
import runpy
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from tests.support.polling import PATIENCE
from tests.support.requirements import ROOT

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
WAIT_S = 20.0 * PATIENCE


class Nursery:
    """The handle; used as a context. `packages` are imported whole before the first fork."""

    def __init__(self, *packages: str, environment: Mapping[str, str] | None = None) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.nursery", *packages],
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._hear()

    def __enter__(self) -> "Nursery":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()  # it kills what is left, and ends
        try:
            self._process.wait(WAIT_S)
        finally:
            self._process.kill()
            self._process.wait()
            self._process.stdout.close()

    def start(self, module: str, arguments: Sequence[str], *, log: Path) -> int:
        """Run `python -m module arguments`; return the process id, which names its process group too."""
        return self._ask({"module": module, "arguments": list(arguments), "log": str(log)})

    def wait(self, pid: int) -> int:
        """Return the server's exit code (negative: the signal) once its whole process group is gone."""
        return self._ask({"wait": pid})

    def kill(self, pid: int) -> None:
        """SIGKILL the whole group and wait for its end."""
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        self.wait(pid)

    def _ask(self, order: Mapping[str, object]) -> int:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return self._hear()

    def _hear(self) -> int:
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], 3 * WAIT_S)
        line = self._process.stdout.readline() if ready else ""
        assert line, "the nursery does not answer"
        answer = json.loads(line)
        assert isinstance(answer, int), answer
        return answer


# ---- the process itself -----------------------------------------------------------------------------


def _import_all(package: str) -> None:
    module = importlib.import_module(package)
    for found in pkgutil.walk_packages(getattr(module, "__path__", []), package + "."):
        if not found.name.endswith("__main__"):
            importlib.import_module(found.name)


def _prepare(packages: Sequence[str]) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    for package in packages:
        _import_all(package)
    gc.collect()
    gc.freeze()


def _wait_for_group(pid: int, codes: dict[int, int]) -> object:
    """Reap until nothing of the group is left."""
    give_up = time.monotonic() + WAIT_S
    while True:
        with suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                codes[found[0]] = os.waitstatus_to_exitcode(found[1])
        try:
            os.killpg(pid, 0)
        except ProcessLookupError:
            return codes.pop(pid, 0)
        if time.monotonic() > give_up:
            return f"process group {pid} does not end"
        time.sleep(0.0005)


def _become_server(order: Mapping[str, object]) -> None:
    """In the fork: look like a process that was just started; but end with the nursery."""
    os.setsid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    null = os.open(os.devnull, os.O_RDWR)
    log = os.open(str(order["log"]), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for fd, target in ((null, 0), (log, 1), (log, 2)):
        os.dup2(fd, target)
    os.closerange(3, 64)
    arguments = order["arguments"]
    assert isinstance(arguments, list)
    sys.argv = [str(order["module"]), *arguments]
    # Nothing was read from or is left unwritten in the nursery's own three.
    sys.stdin = os.fdopen(0, "r", encoding="utf-8", closefd=False)
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False)


def _serve_orders() -> Mapping[str, object] | None:
    """Obey; returns an order in each forked server, and None in the nursery at its end."""
    codes: dict[int, int] = {}
    alive: set[int] = set()
    for line in sys.stdin:
        order = json.loads(line)
        answer: object
        if "wait" in order:
            answer = _wait_for_group(order["wait"], codes)
            alive.discard(order["wait"])
        else:
            answer = os.fork()
            if not answer:
                return dict(order)
            alive.add(int(str(answer)))
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    for pid in alive:
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
    return None


def main() -> None:
    """Run the nursery; comes here to the end once in it, and once in every server."""
    _prepare(sys.argv[1:])
    sys.stdout.write("0\n")
    sys.stdout.flush()
    order = _serve_orders()
    if order is not None:
        _become_server(order)
        runpy.run_module(str(order["module"]), run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
