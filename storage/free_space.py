"""How much room a file system has left, asked at most once in FRESH_S however many ask."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from storage.disk import Disk

# A disk that fills at 1 GB/s loses 2 GB in this time; asking more often would cost calls and tell nothing.
FRESH_S = 2.0
# File systems remembered; a mail site has a few, and who has more asks more often.
REMEMBERED = 256


@dataclass(frozen=True, slots=True)
class Free:
    """What is left for us, without what is reserved for root."""

    octets: int
    percent: float
    inodes: int | None  # None: this file system does not count them (btrfs)


class FreeSpace:
    """Remembers what statvfs(2) said. Any thread may ask."""

    def __init__(self, disk: Disk, clock: Callable[[], float] = time.monotonic) -> None:
        self._disk = disk
        self._clock = clock
        # Single steps on a dict are atomic; two threads may ask the system at once, and both are right.
        self._known: dict[int | str, tuple[float, Free]] = {}

    def of(self, key: int | str, path: str) -> Free:
        """Return what is free on the file system called key, where path lies. OSError if it does not tell."""
        now = self._clock()
        known = self._known.get(key)
        if known is not None and now - known[0] < FRESH_S:
            return known[1]
        status = self._disk.file_system(path)
        free = Free(
            octets=status.f_bavail * status.f_frsize,
            percent=100.0 * status.f_bavail / status.f_blocks if status.f_blocks else 100.0,
            inodes=status.f_favail if status.f_files else None,
        )
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        self._known[key] = (now, free)
        return free
