"""A database that the threads of a process use in turn, each for a transaction of its own.

What the history, the outbox, the quota's memory and the events' backlog have in common: a task goes through
as a whole or not at all, after an error the file is opened anew, and errors bear their owner's name.
"""

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from storage.database import BUSY_TIMEOUT_S, Schema, SharedDatabase, how_to_set_aside, is_damage

T = TypeVar("T")


class Turns:
    """One process's access to the database at path; any thread may call any method.

    Nothing is opened before it is needed.  What SQLite and the system say is raised as `error`.
    """

    def __init__(
        self,
        path: Path,
        schema: Schema,
        error: type[Exception],
        *,
        durable: bool,
        opened: Callable[[sqlite3.Connection], object] = lambda _: None,
        busy_timeout_s: float = BUSY_TIMEOUT_S,
    ) -> None:
        self._path = path
        self._error = error
        self._file = SharedDatabase(
            path, schema, durable=durable, opened=opened, busy_timeout_s=busy_timeout_s
        )
        self._mutex = threading.Lock()

    def take(self, task: Callable[[sqlite3.Connection], T], *, synced: bool = True) -> T:
        """Perform a task in a transaction; unless synced, its commit waits for no disk."""
        with self._mutex:
            try:
                result = task(self._file.begin(synced=synced))
                self._file.commit()
            except BaseException as exc:
                self._file.give_up(exc)
                if isinstance(exc, sqlite3.Error | OSError):
                    raise self.named(exc) from exc
                raise
        return result

    def close(self) -> None:
        """Close the file; later turns raise an error.  May be called again; never raises."""
        with self._mutex:
            self._file.close()

    def named(self, error: sqlite3.Error | OSError) -> Exception:
        """Give an error its owner's name; where only a new file helps, with the command that makes room."""
        if is_damage(error):
            return self._error(
                f"{self._path} is damaged ({error}); set it aside and a new one is made:"
                f" {how_to_set_aside(self._path)}"
            )
        return self._error(f"{self._path}: {error}")
