"""Running an admin script in this process, and reading what it printed."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from storage.directory import Directory
from storage.disk import Disk
from tests.support.requirements import ROOT


@dataclass(frozen=True, slots=True)
class Result:
    """What a run came to."""

    code: int
    out: str
    err: str

    @property
    def facts(self) -> list[dict[str, object]]:
        """The lines of --json."""
        return [json.loads(line) for line in self.out.splitlines()]


Script = Callable[..., Result]


def runner(main: Callable[[Sequence[str]], int], capfd: pytest.CaptureFixture[str]) -> Script:
    """Make a function that runs the script with these arguments."""

    def run(*arguments: object) -> Result:
        capfd.readouterr()
        code = main([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return Result(code, out, err)

    return run


def opened(path: Path) -> Directory:
    """Open a directory as scripts have it."""
    disk = Disk()
    return Directory(disk, disk.open_directory(str(path)))


def new_maildir(path: Path, *folders: str) -> Path:
    """Make a Maildir with these directories of folders in it."""
    for folder in ("", *folders):
        for part in ("tmp", "new", "cur"):
            (path / folder / part).mkdir(parents=True)
    return path


def tree(path: Path) -> dict[str, bytes | None]:
    """Return everything below path: a file's content, None for a directory."""
    return {
        str(each.relative_to(path)): None if each.is_dir() else each.read_bytes()
        for each in sorted(path.rglob("*"))
    }


def on_terminal(
    name: str, *arguments: str, stdout: int | None = None
) -> tuple[subprocess.CompletedProcess[bytes], bytes]:
    """Run a script whose standard error is a terminal, and its standard output too unless it is given.

    Return what it came to, and what the terminal saw.
    """
    code = f"import sys; from scripts.{name} import main; sys.exit(main())"
    ours, theirs = pty.openpty()
    try:
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            cwd=ROOT, stdin=subprocess.DEVNULL, stdout=stdout or theirs, stderr=theirs, check=False,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
        )  # fmt: skip
    finally:
        os.close(theirs)
    seen = b""
    with suppress(OSError):  # the other end is closed
        while piece := os.read(ours, 65536):
            seen += piece
    os.close(ours)
    return done, seen
