"""What a long run over all mailboxes has done already, so that it can go on where it was interrupted."""

import os
from collections.abc import Iterator
from pathlib import Path

from scripts.shell.failures import Failure
from scripts.shell.target import Target


class Done:
    """A file with the paths of the Maildirs that are done, one a line; it goes when all are."""

    def __init__(self, path: Path | None) -> None:
        """Read the file if there is one; path None remembers nothing. Failure if it cannot be written."""
        self._path = path
        self._known: frozenset[str] = frozenset()
        self._file = None
        if path is None:
            return
        try:
            self._file = path.open("a+", encoding="utf-8", errors="surrogateescape", newline="\n")
            self._file.seek(0)
            # A line that was being written when the power went is no path; its Maildir is done again.
            lines = self._file.read().split("\n")
            self._known = frozenset(lines[:-1])
            if lines[-1]:
                self._file.write("\n")
        except OSError as exc:
            raise Failure(f"{path}: {exc.strerror}", os.EX_CANTCREAT) from exc

    def left(self, targets: Iterator[Target]) -> Iterator[Target]:
        """Yield the targets that are not done yet."""
        return (target for target in targets if _line(target) not in self._known)

    def add(self, target: Target) -> None:
        """Note a target as done."""
        if self._file is not None:
            self._file.write(_line(target) + "\n")
            self._file.flush()

    def finish(self) -> None:
        """All are done: the next run begins anew."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()


def _line(target: Target) -> str:
    return target.path.replace("\n", "\\n")
