"""Dovecot's way to lock a file of a Maildir: NAME.lock, made exclusively (its file-dotlock.c).

The lock holds "PID:HOST", so that Dovecot takes over at once what a dead process of this machine has left;
otherwise it waits for two minutes without a change. So do we. Only `dovecot-uidlist.lock` is taken here:
while it is held, Dovecot gives no message of the folder a UID, and believes no listing of its own.
"""

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from storage.directory import Directory
from storage.errors import StorageError
from storage.owners import is_running

# Dovecot's UIDLIST_LOCK_STALE_TIMEOUT.
STALE_S = 120.0
# How long somebody else's lock is waited for: Dovecot holds it for a listing of the folder.
WAIT_S = 30.0
_POLL_S = 0.05


class Locked(StorageError):
    """Somebody else has the lock, and does not let go of it."""


@contextmanager
def dotlock(
    folder: Directory,
    name: str,
    *,
    wait_s: float | None = None,
    clock: Callable[[], float] = time.time,
    pause: Callable[[float], None] = time.sleep,
) -> Iterator[None]:
    """Hold NAME.lock while the `with` block lasts. Locked: not within wait_s, by default WAIT_S; OSError."""
    lock = name + ".lock"
    deadline = clock() + (WAIT_S if wait_s is None else wait_s)
    while (fd := _take(folder, lock)) is None:
        break_stale(folder, lock, now=clock())
        if clock() >= deadline:
            raise Locked(f"{lock} is held by another program: {_holder(folder, lock) or 'it does not say'}")
        pause(_POLL_S)
    try:
        os.write(fd, f"{os.getpid()}:{socket.gethostname()}".encode())
        yield
    finally:
        # Unless we were taken for dead, and it is somebody else's by now.
        with suppress(OSError):
            if os.path.samestat(folder.disk.status(lock, dir_fd=folder.fd), os.fstat(fd)):
                folder.disk.unlink(lock, dir_fd=folder.fd)
        os.close(fd)


def break_stale(folder: Directory, lock: str, *, now: float, stale_s: float = STALE_S) -> None:
    """Remove a lock that nobody holds: unchanged for so long, or of a process that is dead. OSError."""
    with suppress(FileNotFoundError):
        status = folder.disk.status(lock, dir_fd=folder.fd)
        if now - max(status.st_mtime, status.st_ctime) > stale_s or _is_dead(_holder(folder, lock)):
            again = folder.disk.status(lock, dir_fd=folder.fd)
            if _identity(again) == _identity(status):
                folder.disk.unlink(lock, dir_fd=folder.fd)


def _take(folder: Directory, lock: str) -> int | None:
    try:
        return folder.disk.create(lock, dir_fd=folder.fd)
    except FileExistsError:
        return None


def _holder(folder: Directory, lock: str) -> str:
    with suppress(OSError):
        fd = folder.disk.open_file(lock, dir_fd=folder.fd)
        try:
            return folder.disk.read(fd, 256).decode("ascii", "replace")
        finally:
            folder.disk.close(fd)
    return ""


def _is_dead(holder: str) -> bool:
    pid, _, host = holder.partition(":")
    if host != socket.gethostname() or not pid.isdecimal() or not int(pid):
        return False
    return not is_running(int(pid))


def _identity(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_dev, status.st_ino, status.st_ctime_ns
