"""The syncs of a round: what several deliveries wrote to one file system becomes durable in one go.

An fsync(2) per message makes the journal commit, and a thread sleep, for each of them. syncfs(2) writes back
whatever is dirty and commits once, at about the price of two fsyncs (docs/performance.md). Four rules
keep it as good as the former:

* Only on file systems of which we know that syncfs waits for the disk, and only on Linux 5.17 or newer,
  where it tells of every error; elsewhere every file is synced by itself.
* On a file system that an error has made read-only, syncfs says "done" and does nothing. So one of the files
  is synced by itself behind it, which fails there, and costs little, since it is on the disk already.
* The kernel tells each open file description of an error once, so each round opens a directory anew, before
  it writes, and asks with that; a file that was begun earlier, as large ones are, is synced by itself.
* An error is final for every file of the round, as that of an fsync is for its one file: who knows which
  pages were lost.

A neighbour who writes gigabytes to the same file system would make us wait for them. So a syncfs that was
slow is not repeated on that file system for a while.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Protocol, Self, TypeVar

from storage.disk import Disk
from storage.errors import StorageError
from storage.staging import Staged

T = TypeVar("T")


class Published(Protocol):
    """A Maildir in whose new/ something was published."""

    @property
    def device(self) -> int:
        """Its file system (st_dev)."""

    @property
    def syncs_directory(self) -> bool:
        """Whether that is to be made durable at all."""

    def sync(self) -> None:
        """Make that durable. StorageError."""

    def sync_failed(self, exc: OSError) -> StorageError:
        """Name what went wrong with a sync in place of its own."""


M = TypeVar("M", bound=Published)

WORTHWHILE = 2  # files or directories; for one, fsync is cheaper
SLOW_S = 0.25  # ten times what a round takes on a slow disk
PAUSE_S = 30.0


class SyncPace:
    """Which file systems were slow to sync as a whole of late. Any thread may use it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._paused_until: dict[int, float] = {}  # by device

    def allows(self, device: int) -> bool:
        """Tell whether to sync the whole of this file system."""
        until = self._paused_until.get(device)
        return until is None or until <= self._clock()

    def time(self, device: int, sync: Callable[[], None]) -> None:
        """Sync, and remember if it was slow."""
        begun = self._clock()
        sync()
        ended = self._clock()
        if ended - begun > SLOW_S:
            self._paused_until[device] = ended + PAUSE_S


class RoundSync:
    """The syncs of one round of deliveries. Begun before the first is written; confined to one thread."""

    __slots__ = ("_device", "_disk", "_fd", "_pace")

    def __init__(self, disk: Disk, pace: SyncPace, *, device: int, reopen: Callable[[], int] | None) -> None:
        """reopen: open a directory of that file system anew; None: every file is to be synced by itself."""
        self._disk = disk
        self._pace = pace
        self._device = device
        self._fd = -1
        if reopen is not None and pace.allows(device):
            with suppress(OSError):  # then without
                self._fd = reopen()

    def files(self, staged: Sequence[Staged]) -> dict[Staged, StorageError]:
        """Make messages that were begun in this round durable in tmp/, and close them.

        Return those of which that went wrong, and why; they are discarded.
        """
        originals = [each for each in staged if not each.is_linked]
        together = self._together(originals, lambda each: each.device)
        last = together[-1] if together else None
        chosen = set(together)
        errors: dict[Staged, StorageError] = {}
        for each in originals:
            if each is not last:
                with _kept(errors, each):
                    if each in chosen:
                        each.close()
                    else:
                        each.sync()
        if last is not None:
            self._finish(together, last, errors)
        for each in staged:
            if each.is_linked:
                with _kept(errors, each):
                    each.sync()
        return errors

    def directories(self, maildirs: Iterable[M]) -> dict[M, StorageError]:
        """Make durable what was published in these; return those of which that is uncertain, and why."""
        distinct = [maildir for maildir in dict.fromkeys(maildirs) if maildir.syncs_directory]
        together = self._together(distinct, lambda maildir: maildir.device)
        chosen = set(together)
        errors: dict[M, StorageError] = {}
        for maildir in distinct:
            if maildir not in chosen:
                with _kept(errors, maildir):
                    maildir.sync()
        if together:
            error = self._whole()
            if error is None:
                with _kept(errors, together[-1]):
                    together[-1].sync()  # the proof that syncfs did something, as for files
                error = errors[together[-1]].oserror if together[-1] in errors else None
            if error is not None:
                errors |= {maildir: maildir.sync_failed(error) for maildir in together}
        return errors

    def close(self) -> None:
        """Let go of the file system."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            with suppress(OSError):
                self._disk.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _finish(self, together: Sequence[Staged], last: Staged, errors: dict[Staged, StorageError]) -> None:
        """Sync the file system, and then the last file by itself: where that fails, nothing is sure."""
        error = self._whole()
        if error is None:
            try:
                last.sync()
            except StorageError as exc:
                errors[last] = exc
                error = exc.oserror
        for each in together:
            if each not in errors:
                if error is not None:
                    errors[each] = each.sync_failed(error)
                elif each is not last:
                    each.synced()

    def _together(self, things: Sequence[T], device_of: Callable[[T], int]) -> list[T]:
        """Choose what is to be synced by one call: nothing, unless that is cheaper."""
        if self._fd < 0:
            return []
        chosen = [thing for thing in things if device_of(thing) == self._device]
        return chosen if len(chosen) >= WORTHWHILE else []

    def _whole(self) -> OSError | None:
        try:
            self._pace.time(self._device, lambda: self._disk.sync_file_system(self._fd))
        except OSError as exc:
            return exc
        return None


@contextmanager
def _kept(errors: dict[T, StorageError], thing: T) -> Iterator[None]:
    """Note a StorageError under the thing that it befell."""
    try:
        yield
    except StorageError as exc:
        errors[thing] = exc


# Of a round that writes nothing.
NOTHING_TO_SYNC = RoundSync(Disk(), SyncPace(), device=0, reopen=None)
