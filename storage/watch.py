"""What changes in a directory, by inotify through watchdog.

The rule: a notice says where to look, never what is there. It may come late, twice or, on a network file
system, not at all, so whoever acts on one looks at the file itself, and now and then looks unasked.
"""

import os
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from watchdog.events import FileClosedNoWriteEvent, FileOpenedEvent, FileSystemEvent, FileSystemEventHandler
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
        self._handler = _Gatherer(directory)
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


class _Gatherer(FileSystemEventHandler):
    """Names, gathered by watchdog's thread and taken by ours."""

    def __init__(self, directory: Path) -> None:
        self.fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._directory = os.path.abspath(directory)
        self._lock = threading.Lock()
        self._names: set[str] = set()

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Note the names of an event; reading changes nothing, and our own looking would be seen."""
        if isinstance(event, FileOpenedEvent | FileClosedNoWriteEvent):
            return
        paths = [os.path.abspath(os.fsdecode(path)) for path in (event.src_path, event.dest_path) if path]
        with self._lock:
            if not self._names:
                os.eventfd_write(self.fd, 1)
            self._names.update("" if path == self._directory else os.path.basename(path) for path in paths)

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
