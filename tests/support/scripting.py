"""Running an admin script in this process, and reading what it printed."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from storage.directory import Directory
from storage.disk import Disk


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
