"""Ledgers of several processes, for the tests of storage.ledger."""

import contextlib
import itertools
import multiprocessing
import os
import signal
import sqlite3
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from storage.ledger import Ledger, Record
from storage.owners import Owner


def record(number: int, attempt: int = 1) -> Record:
    """Return one delivery's record; every attempt stages a file of its own."""
    return Record(
        number.to_bytes(32, "big"), "/srv/mail/user", f"tmp-{number}.{attempt}", f"{number}.{attempt}"
    )


def records_in(path: Path) -> dict[int, str]:
    """Return what a foreign reader finds: the file's name by number."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT key, name FROM records ORDER BY key").fetchall()
    return {int.from_bytes(key, "big"): name for key, name in rows}


class OtherProcess:
    """A process with a ledger of its own, which does what it is told."""

    def __init__(self, path: Path) -> None:
        context = multiprocessing.get_context("fork")
        self._ours, theirs = context.Pipe()
        self._process = context.Process(target=_obey, args=(path, theirs), daemon=True)
        self._process.start()
        theirs.close()
        self.token = self("token")

    def __call__(self, method: str, *arguments: Any) -> Any:  # Any: what the method takes and returns
        """Call a method of the process's ledger and return its result."""
        self.begin(method, *arguments)
        return self.result()

    def begin(self, method: str, *arguments: Any) -> None:  # Any: what the method takes
        """Call a method without waiting for it."""
        self._ours.send((method, arguments))

    def result(self) -> Any:  # Any: what the method returns
        """Wait for the result of what was begun."""
        return self._ours.recv()

    def kill(self) -> None:
        """End the process with SIGKILL."""
        assert self._process.pid is not None
        os.kill(self._process.pid, signal.SIGKILL)
        self._process.join()
        self._ours.close()


@contextlib.contextmanager
def other_process(path: Path) -> Iterator[OtherProcess]:
    """Run another process on the ledger at path; killed at the end if it was not before."""
    process = OtherProcess(path)
    try:
        yield process
    finally:
        with contextlib.suppress(OSError):
            process.kill()


def _obey(path: Path, orders: Connection) -> None:
    owner = Owner.of_this_process()
    ledger = Ledger(path, owner)
    while True:
        method, arguments = orders.recv()
        match method:
            case "token":
                orders.send(owner.token)
            case "intend_each":
                orders.send([ledger.intend([it])[0] for it in arguments[0]])
            case "intend_for_ever":
                for number in itertools.count(*arguments):
                    ledger.intend([record(number)])
            case _:
                orders.send(getattr(ledger, method)(*arguments))
