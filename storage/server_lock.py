"""One server per state directory.

Two servers on one ledger would not harm it, but they would take each other's sockets and count each
other's mailboxes; more likely than not somebody started the second by mistake.
"""

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self


class ServerRunning(Exception):
    """Another server holds the lock; pid is its process id, or None when it cannot be read."""

    def __init__(self, path: Path, pid: int | None) -> None:
        super().__init__(f"{path} is held by a running server" + (f", process {pid}" if pid else ""))
        self.pid = pid


class ServerLock:
    """Hold path locked, with the process id in it, until closed or until the process and its forks end.

    Made by the supervisor before it forks.  Workers inherit the lock and keep it: while one of them
    lives, the state directory is in use, even if the supervisor was killed.  ServerRunning when it is
    held elsewhere; OSError when the file cannot be opened.  The file stays when the lock goes, since
    unlinking it would let two processes lock two files.
    """

    def __init__(self, path: Path | None, *, inherited: int | None = None) -> None:
        """inherited: the descriptor of one who holds the lock and has handed it over; then without a path."""
        if path is None:
            assert inherited is not None
            self._fd = inherited
            return
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            _lock(self._fd, path)
            self.sign()
        except BaseException:
            os.close(self._fd)
            raise

    def sign(self) -> None:
        """Write down this process as the holder."""
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode("ascii"), 0)

    def fileno(self) -> int:
        """Return its descriptor."""
        return self._fd

    def close(self) -> None:
        """Give up this process's hold on the lock; what it forked keeps its own.  Done once."""
        # Never LOCK_UN: that would take the lock from the workers as well.
        os.close(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _lock(fd: int, path: Path) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        text = os.pread(fd, 20, 0).strip()
        raise ServerRunning(path, int(text) if text.isdigit() else None) from exc
