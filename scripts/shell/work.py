"""One run of a script: its Maildirs, several at a time, with progress, and what came of it."""

import functools
import os
import sys
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import click

from lmtpd.config import Config
from scripts.shell.acting import in_maildir
from scripts.shell.crew import Ended, Fact, Item, Job, Opener, Progressed, work
from scripts.shell.everybody import Missed
from scripts.shell.output import shown
from scripts.shell.progress import Meter, meter
from scripts.shell.resuming import Done
from scripts.shell.selection import Function, Selection, say
from scripts.shell.target import Target


@dataclass(slots=True)
class Tally:
    """What came of a run."""

    maildirs: int = 0
    messages: int = 0
    kinds: Counter[str] = field(default_factory=Counter)  # facts by their "kind"
    code: int = os.EX_OK  # of the first failure


@dataclass(frozen=True, slots=True)
class Run:
    """How the command line wants the work done."""

    selection: Selection
    config: Config | None
    jobs: int
    resume: Path | None
    missed: list[int] = field(default_factory=list)  # exit codes, for those of all who cannot be found

    def targets(self, *, makes: bool = False) -> list[Target]:
        """Look up the Maildirs, a few hundred octets each; makes: also what is yet to be made. Failure."""
        return list(self.selection.targets(self.config, missed=self._note, makes=makes))

    def _note(self, missed: Missed) -> None:
        say(missed)
        self.missed.append(missed.code)

    def go(
        self,
        job: Job,
        tell: Callable[[Fact], None],
        *,
        opener: Opener = in_maildir,
        targets: list[Target] | None = None,
    ) -> Tally:
        """Do the job on every Maildir; hand each fact, with "maildir" and "user" in it, to tell.

        What fails in one Maildir is printed on standard error and stops no other. targets: those of
        targets(), where the caller has asked already.
        """
        tally = Tally()
        with (
            closing(Done(self.resume)) as done,
            meter() as progress,
            closing(self._items(job, opener, done, progress, targets)) as items,
        ):
            for target, item in items:
                match item:
                    case Progressed(messages, share):
                        tally.messages += messages
                        progress.add(messages, share)
                    case Ended():
                        _end(target, item, tally, done)
                        progress.advance()
                    case dict() as fact:
                        tally.kinds[str(fact.get("kind"))] += 1
                        tell(_placed(fact, target))
            if tally.code == os.EX_OK:
                done.finish()
        # Whoever is missed today is no reason to remember who is done.
        tally.code = tally.code or next(iter(self.missed), os.EX_OK)
        sys.stdout.flush()
        return tally

    def _items(
        self, job: Job, opener: Opener, done: Done, progress: Meter, targets: list[Target] | None
    ) -> Generator[tuple[Target, Item | Ended]]:
        left = list(done.left(iter(self.targets() if targets is None else targets)))
        progress.expect(len(left))
        return work(iter(left), job, opener, jobs=self.jobs)


def takes_run(function: Function) -> Function:
    """Give a command --jobs and --resume; it is called with a `Run` in place of its `Selection`.

    Stands below `takes_maildirs` among the decorators.
    """

    @functools.wraps(function)
    def command(selection: Selection, *, jobs: int | None, resume: str | None, **others: object) -> int:
        count = jobs or len(os.sched_getaffinity(0))
        run = Run(selection, selection.config(), count, Path(resume) if resume else None)
        return function(run, **others)

    return _JOBS(_RESUME(command))


def _end(target: Target, ended: Ended, tally: Tally, done: Done) -> None:
    if not ended.failure:
        tally.maildirs += 1
        done.add(target)
        return
    name = click.get_current_context().info_name
    click.echo(f"{name}: {shown(target.path)}: {shown(ended.failure)}", err=True)
    tally.code = tally.code or ended.code


def _placed(fact: Fact, target: Target) -> Fact:
    """Say where: first in the line."""
    placed: Fact = {"maildir": target.path}
    if target.user:
        placed["user"] = target.user
    return placed | fact


_JOBS = click.option(
    "--jobs",
    metavar="N",
    type=click.IntRange(1),
    help="Maildirs at the same time.  [as many as processors]",
)
_RESUME = click.option(
    "--resume",
    metavar="FILE",
    type=click.Path(dir_okay=False),
    help="Note in FILE which Maildirs are done, and pass over those that are.",
)


def at_most_one(flags: Mapping[str, bool]) -> str | None:
    """Return the flag that was given, without its dashes. UsageError for two that exclude each other."""
    given = [flag for flag, is_given in flags.items() if is_given]
    if len(given) > 1:
        raise click.UsageError(f"{' and '.join(given)} do not go together: give one of them")
    return given[0].removeprefix("--") if given else None


dry_run = click.option("--dry-run", is_flag=True, help="Say what would be done, and change nothing.")
# For scripts that look only: who gives it to every script by habit is right here, too.
changes_nothing = click.option(
    "--dry-run",
    is_flag=True,
    expose_value=False,
    help="As without it: this command changes nothing in a Maildir.",
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, one object a line.")
