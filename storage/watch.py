"""What changes in a directory, or below some, by inotify through watchdog.

The rule: a notice says where to look, never what is there. It may come late, twice or, on a network file
system, not at all, so whoever acts on one looks at the file itself, and now and then looks unasked.
"""

import logging
import os
import threading
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileClosedNoWriteEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileMovedEvent,
    FileOpenedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer


class DirectoryWatch:
    """The names that change in one directory, not below it, while the `with` block lasts.

    Started after the last fork of its process: a thread of its own listens. fileno() is readable while
    there is something to take, so that a caller can wait for other things as well. Taking is for one
    thread. OSError if the directory cannot be watched; ENOSPC means that the user's share of inotify
    watches is used up.
    """

    def __init__(self, directory: Path) -> None:
        # Asked first: watchdog leaves descriptors open when it finds out itself.
        with os.scandir(directory):
            pass
        own_path = os.path.abspath(directory)
        self._handler = _Gatherer(lambda path: "" if path == own_path else os.path.basename(path))
        self._observer = Observer()
        try:
            self._observer.schedule(self._handler, str(directory), recursive=False)
            self._observer.start()
        except BaseException:
            self._handler.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._observer.stop()
        self._observer.join()
        self._handler.close()

    def fileno(self) -> int:
        """Return the descriptor to wait on: readable while take() has something."""
        return self._handler.fd

    def take(self) -> frozenset[str]:
        """Return the names changed since the last call: made, written to, renamed (both names), removed.

        "" stands for the directory itself. Empty if there are none; never waits.
        """
        return self._handler.take()


class TreeWatch:
    """The paths that appear, go or are renamed below directories, while the `with` block lasts.

    As DirectoryWatch otherwise. Directories made later are watched, too; links are not followed. Where the
    share of inotify watches does not suffice for all that is below, nothing is told of the rest: another
    reason to look unasked.
    """

    def __init__(self, directories: Sequence[Path]) -> None:
        for directory in directories:
            with os.scandir(directory):
                pass
        self._handler = _Gatherer(str)
        self._overflow = _OverflowNotice(self._handler)
        self._observer = Observer()
        _WATCHDOGS_LOG.addHandler(self._overflow)
        # Of a directory that is made while its parent is being read watchdog hears twice, and says so.
        warnings.filterwarnings("ignore", "Callback with id", RuntimeWarning)
        try:
            for directory in directories:
                self._observer.schedule(
                    self._handler, str(directory), recursive=True, event_filter=list(_COMES_OR_GOES)
                )
            self._observer.start()
        except BaseException:
            self._close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._observer.stop()
        self._observer.join()
        self._close()

    def fileno(self) -> int:
        """Return the descriptor to wait on: readable while take() has something."""
        return self._handler.fd

    def take(self) -> frozenset[str]:
        """Return the absolute paths changed since the last call; both of a rename. Never waits.

        "" among them: the kernel's queue ran over, so nobody knows what else has changed.
        """
        return self._handler.take()

    def _close(self) -> None:
        _WATCHDOGS_LOG.removeHandler(self._overflow)
        self._handler.close()


_COMES_OR_GOES = (
    *(FileCreatedEvent, FileMovedEvent, FileDeletedEvent),
    *(DirCreatedEvent, DirMovedEvent, DirDeletedEvent),
)
_WATCHDOGS_LOG = logging.getLogger("watchdog.observers")


class _OverflowNotice(logging.Handler):
    """Hears watchdog say that the queue ran over, which it tells to its log and to nobody else."""

    def __init__(self, gatherer: "_Gatherer") -> None:
        super().__init__(logging.WARNING)
        self._gatherer = gatherer

    def emit(self, record: logging.LogRecord) -> None:
        """Note it."""
        if "overflow" in record.getMessage():
            self._gatherer.note([""])


class _Gatherer(FileSystemEventHandler):
    """Names, gathered by watchdog's thread and taken by ours."""

    def __init__(self, name_of: Callable[[str], str]) -> None:
        """name_of: what a path is to the taker."""
        self.fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._name_of = name_of
        self._lock = threading.Lock()
        self._names: set[str] = set()

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Note the names of an event; reading changes nothing, and our own looking would be seen."""
        if isinstance(event, FileOpenedEvent | FileClosedNoWriteEvent):
            return
        paths = [os.path.abspath(os.fsdecode(path)) for path in (event.src_path, event.dest_path) if path]
        self.note([self._name_of(path) for path in paths])

    def note(self, names: Sequence[str]) -> None:
        """Add names, from any thread."""
        with self._lock:
            if not self._names and names:
                os.eventfd_write(self.fd, 1)
            self._names.update(names)

    def take(self) -> frozenset[str]:
        """Empty the set and the descriptor together."""
        with self._lock:
            if self._names:
                os.eventfd_read(self.fd)
            taken = frozenset(self._names)
            self._names.clear()
            return taken

    def close(self) -> None:
        """Give the descriptor back; the thread has ended."""
        os.close(self.fd)
