"""What is measured when somebody asks, not counted: files, space, processes."""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from lmtpd.report.metrics import Labels
from storage.history import History, HistoryError
from storage.ledger_tables import count
from storage.reading import octets_of, reading

Measured = tuple[str, Labels, float]

_TIMEOUT_S = 0.5  # a figure is not worth more
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE_OCTETS = os.sysconf("SC_PAGE_SIZE")


def of_ledger(path: Path) -> Iterator[Measured]:
    """Measure the ledger; what cannot be read is left out."""
    yield "ledger_octets", (), octets_of(path)
    with suppress(sqlite3.Error), reading(path, timeout_s=_TIMEOUT_S) as connection:
        yield "ledger_records", (), count(connection)


def of_history(path: Path) -> Iterator[Measured]:
    """Measure the history; what cannot be read is left out."""
    yield "history_octets", (), octets_of(path)
    with suppress(HistoryError):
        yield "history_rows", (), History(path, busy_timeout_s=_TIMEOUT_S).rows()


def of_file_system(place: str, path: str) -> Iterator[Measured]:
    """Measure the file system that path, or the nearest directory above that exists, is on."""
    try:
        found = os.statvfs(_existing(path))
    except OSError:
        return
    yield "free_octets", (place,), found.f_bavail * found.f_frsize
    if found.f_blocks:
        yield "free_ratio", (place,), found.f_bavail / found.f_blocks
    if found.f_files:  # btrfs makes inodes as it needs them, and says 0
        yield "free_inodes_ratio", (place,), found.f_favail / found.f_files


def of_process(worker: str, pid: int) -> Iterator[Measured]:
    """Measure a worker."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            # Behind the name, which may hold spaces and parentheses: the third field of proc_pid_stat(5).
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return  # it has just ended
    yield "worker_cpu_seconds", (worker,), (int(fields[11]) + int(fields[12])) / _TICKS
    yield "worker_threads", (worker,), int(fields[17])
    yield "worker_resident_octets", (worker,), int(fields[21]) * _PAGE_OCTETS


def born_at(pid: int) -> float:
    """Return when a process was started, in seconds since 1970."""
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
        ticks = int(file.read().rpartition(")")[2].split()[19])
    return time.time() - (time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / _TICKS)


def _existing(path: str) -> str:
    while not os.path.exists(path) and path != "/":
        path = os.path.dirname(path)
    return path
