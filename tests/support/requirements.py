"""What a test needs from the machine: where it is missing, a skip with one line, or under CI a failure."""

import functools
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.memory_limit import may_limit_memory

ROOT = Path(__file__).resolve().parents[2]
CORPUS = ROOT.parent / "shared" / "corpus"

# Debian keeps the servers in sbin, which a user's PATH lacks.
SEARCH_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])


def need(*names: str) -> None:
    """Skip the running test unless everything named is there; under CI=true fail it instead.

    A name is that of a privilege ("root", "ptrace", "loop device", ...) or else of a program.
    """
    missing = [name for name in names if not is_there(name)]
    if not missing:
        return
    reason = f"needs {', '.join(missing)} ({'; '.join(_HINTS.get(name, MAKE_TEST) for name in missing)})"
    if os.environ.get("CI") == "true":
        pytest.fail(f"{reason}; under CI nothing may be missing", pytrace=False)
    pytest.skip(reason)


def program(name: str) -> str:
    """Return the path of a program that `need` has found."""
    path = shutil.which(name, path=SEARCH_PATH)
    assert path is not None, f"ask need({name!r}) first"
    return path


@functools.cache
def is_there(name: str) -> bool:
    """Tell whether the machine offers the program or privilege."""
    if name in _PRIVILEGES:
        return _PRIVILEGES[name]()
    return shutil.which(name, path=SEARCH_PATH) is not None


def _may_trace() -> bool:
    """Tell whether ptrace(2) is allowed; containers often forbid it."""
    strace = shutil.which("strace", path=SEARCH_PATH)
    if strace is None:
        return False
    command = [strace, "-o", "/dev/null", "true"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _may_mount() -> bool:
    return os.geteuid() == 0 and Path("/dev/loop-control").exists()


MAKE_TEST = '"make test" as root installs it'
_PRIVILEGES: dict[str, Callable[[], bool]] = {
    "root": lambda: os.geteuid() == 0,
    "ptrace": _may_trace,
    "loop device": _may_mount,
    "control group": may_limit_memory,
    "corpus": lambda: any(CORPUS.glob("*.eml")),
}
_HINTS = {
    "root": "run as root",
    "ptrace": "strace is missing or ptrace(2) is forbidden here",
    "loop device": "run as root where loop devices exist",
    "control group": "run as root where control groups for memory can be made",
    "corpus": f"a folder of messages, {CORPUS}",
}
