"""Worker processes: one job on many Maildirs, several at a time.

Each worker has one thread, and works on one Maildir after the other: so it can act as their owners. It may
be killed at any moment: what a job changes, it changes so that this does no harm.
"""

import multiprocessing
import signal
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, closing, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from scripts.shell.failures import Failure, named
from scripts.shell.target import Target
from storage.directory import Directory
from storage.errors import StorageError

Fact = dict[str, object]  # what JSON can say
# Facts are sent together, or a pipe's turn-around would cost more than the work.
BATCH = 256


@dataclass(frozen=True, slots=True)
class Progressed:
    """So many messages were dealt with since the last word."""

    messages: int
    share: float = 0.0  # how much of this Maildir is done by now, of 1; 0 where that cannot be told


@dataclass(frozen=True, slots=True)
class Ended:
    """The job on this Maildir is over."""

    failure: str = ""  # empty: it is done
    code: int = 0


Item = Fact | Progressed
Job = Callable[[Target, Directory], Iterator[Item]]
Opener = Callable[[Target], AbstractContextManager[Directory]]


def work(
    targets: Iterator[Target], job: Job, opener: Opener, *, jobs: int
) -> Generator[tuple[Target, Item | Ended]]:
    """Do the job on every target; yield what it says, in the order in which it comes.

    Whoever stops listening, or is interrupted, stops the workers.
    """
    crew = _Crew(job, opener)
    try:
        for target in targets:
            while len(crew.busy) >= jobs:
                yield from crew.listen()
            crew.begin(target)
        while crew.busy:
            yield from crew.listen()
    finally:
        crew.dismiss()


class _Crew:
    def __init__(self, job: Job, opener: Opener) -> None:
        self._job = job
        self._opener = opener
        self._idle: list[tuple[Connection, BaseProcess]] = []
        self.busy: dict[Connection, tuple[BaseProcess, Target]] = {}

    def begin(self, target: Target) -> None:
        """Hand a target to an idle worker, or to a new one."""
        connection, process = self._idle.pop() if self._idle else self._hire()
        # Noted first: an interruption in between must not leave a worker behind.
        self.busy[connection] = (process, target)
        connection.send(target)

    def listen(self) -> Iterator[tuple[Target, Item | Ended]]:
        """Wait for some worker, and yield what it says."""
        for connection in wait(list(self.busy)):
            assert isinstance(connection, Connection)
            process, target = self.busy[connection]
            try:
                items = connection.recv()
            except EOFError:
                process.join()
                del self.busy[connection]
                connection.close()
                # Signals are negative exit codes; nothing in a job exits by itself.
                yield target, Ended(f"the worker process ended ({process.exitcode})", 70)
                continue
            if isinstance(items[-1], Ended):
                del self.busy[connection]
                self._idle.append((connection, process))
            for item in items:
                yield target, item

    def dismiss(self) -> None:
        """End all workers, also in the middle of their work."""
        for connection, process in self._idle:
            connection.close()
            process.join()
        for connection, (process, _) in self.busy.items():
            process.terminate()
            process.join()
            connection.close()

    def _hire(self) -> tuple[Connection, BaseProcess]:
        ours, theirs = multiprocessing.Pipe()
        # What the others' pipes would keep open after our death is theirs alone.
        inherited = [ours, *(each for each, _ in self._idle), *self.busy]
        process = multiprocessing.get_context("fork").Process(
            target=_serve, args=(theirs, inherited, self._job, self._opener), daemon=True
        )
        process.start()
        theirs.close()
        return ours, process


def _serve(connection: Connection, inherited: list[Connection], job: Job, opener: Opener) -> None:
    """Work until nobody has a target any more."""
    # Ctrl-C goes to all processes of the terminal; the first one decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for each in inherited:
        each.close()
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            target = connection.recv()
            batch: list[Item | Ended] = []
            for item in _do(target, job, opener):
                batch.append(item)
                if len(batch) >= BATCH or isinstance(item, Progressed):
                    connection.send(batch)
                    batch = []
            connection.send(batch)


def _do(target: Target, job: Job, opener: Opener) -> Iterator[Item | Ended]:
    try:
        with opener(target) as maildir, closing(_generator(job, target, maildir)) as items:
            yield from items
    except (OSError, StorageError) as exc:
        failure = named(exc)
        yield Ended(str(failure), failure.code)
    except Failure as exc:
        yield Ended(str(exc), exc.code)
    except Exception as exc:  # noqa: BLE001 - a bug in one Maildir shall not keep the others waiting
        yield Ended(f"bug: {type(exc).__name__}: {exc}", 70)
    else:
        yield Ended()


def _generator(job: Job, target: Target, maildir: Directory) -> Generator[Item]:
    yield from job(target, maildir)
