"""What changes in a directory, or below some, by inotify through watchdog.

The rule: a notice says where to look, never what is there. It may come late, twice or, on a network file
system, not at all, so whoever acts on one looks at the file itself, and now and then looks unasked.
"""

import logging
import os
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
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
from watchdog.observers.api import ObservedWatch


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
        self._handler = _Gatherer(str)
        self._overflow = _OverflowNotice(self._handler)
        self._observer = Observer()
        self._watched: set[Path] = set()
        _WATCHDOGS_LOG.addHandler(self._overflow)
        _ignore_double_callbacks()
        try:
            for directory in directories:
                self.ensure(directory)
            self._observer.start()
        except BaseException:
            self._close()
            raise

    def ensure(self, directory: Path) -> None:
        """Watch one directory more, unless it is below one that is watched. OSError."""
        if self._watched.isdisjoint((directory, *directory.parents)):
            with os.scandir(directory):  # watchdog is silent about what it cannot read
                pass
            self._observer.schedule(
                self._handler, str(directory), recursive=True, event_filter=list(_COMES_OR_GOES)
            )
            self._watched.add(directory)

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


def _ignore_double_callbacks() -> None:
    """Of a directory that is made while its parent is being read watchdog hears twice, and says so."""
    warnings.filterwarnings("ignore", "Callback with id", RuntimeWarning)


class _OverflowNotice(logging.Handler):
    """Hears watchdog say that the queue ran over, which it tells to its log and to nobody else."""

    def __init__(self, gatherer: "_Gatherer") -> None:
        super().__init__(logging.WARNING)
        self._gatherer = gatherer

    def emit(self, record: logging.LogRecord) -> None:
        """Note it."""
        if "overflow" in record.getMessage():
            self._gatherer.note([""])


class MaildirsWatch:
    """Maildirs from which messages or folders go, by whomever; what comes and what is renamed is no news.

    Not more than so many Maildirs, and directories in them: the kernel keeps a watch for each directory,
    of which a user has 8,192 on small machines, and an IMAP server of the same user needs some, too;
    and watchdog takes a thread for each Maildir. Started after the last fork; for one thread.
    """

    def __init__(self, *, maildirs: int, directories: int) -> None:
        self._most = maildirs
        self._most_directories = directories
        self._observer = Observer()
        self._is_started = False
        self._watched: OrderedDict[str, tuple[ObservedWatch, int]] = OrderedDict()  # oldest first
        self._losses = _Losses()

    def add(self, maildir: str) -> bool:
        """Watch a Maildir, in the place of those added longest ago; False if it is too large. OSError."""
        if maildir in self._watched:
            self._watched.move_to_end(maildir)
            return True
        if self._most < 1 or (size := _directories_in(maildir)) > self._most_directories:
            return False
        while (
            len(self._watched) >= self._most
            or sum(count for _, count in self._watched.values()) + size > self._most_directories
        ):
            self._drop(next(iter(self._watched)))
        if not self._is_started:
            _ignore_double_callbacks()
            self._observer.start()
            self._is_started = True
        watch = self._observer.schedule(
            _Loss(self._losses, maildir), maildir, recursive=True, event_filter=list(_COMES_OR_GOES)
        )
        self._watched[maildir] = (watch, size)
        return True

    @property
    def watched(self) -> frozenset[str]:
        """Which are watched now."""
        return frozenset(self._watched)

    def take(self) -> frozenset[str]:
        """Return those from which something went since the last call; never waits."""
        return self._losses.take()

    def close(self) -> None:
        """Watch nothing any more."""
        self._watched.clear()
        if self._is_started:
            self._observer.stop()
            self._observer.join()

    def _drop(self, maildir: str) -> None:
        watch, _ = self._watched.pop(maildir)
        with suppress(KeyError):  # it has ended by itself, with its directory
            self._observer.unschedule(watch)


class _Losses:
    """Maildirs, gathered by watchdog's threads and taken by ours."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._maildirs: set[str] = set()

    def add(self, maildir: str) -> None:
        with self._lock:
            self._maildirs.add(maildir)

    def take(self) -> frozenset[str]:
        with self._lock:
            taken, self._maildirs = frozenset(self._maildirs), set()
            return taken


class _Loss(FileSystemEventHandler):
    """Sees what goes from one Maildir."""

    def __init__(self, losses: _Losses, maildir: str) -> None:
        self._losses = losses
        self._maildir = maildir

    def on_deleted(self, event: FileSystemEvent) -> None:
        """Note the removal of a message or a directory, also by a move to elsewhere."""
        path = os.fsdecode(event.src_path)
        if event.is_directory or os.path.basename(os.path.dirname(path)) in ("new", "cur"):
            self._losses.add(self._maildir)


def _directories_in(maildir: str) -> int:
    """Count the directories that a watch on a Maildir takes."""
    return 1 + sum(len(directories) for _, directories, _ in os.walk(maildir))


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
