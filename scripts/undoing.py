"""`--undo` of the scripts that put mail into their trash: the last run's comes back."""

import os
from collections.abc import Iterator
from dataclasses import dataclass

import click

from scripts.shell.crew import Fact, Item, Progressed
from scripts.shell.output import Printer, counted, shown
from scripts.shell.target import Target
from scripts.shell.work import Run, Tally
from storage.directory import Directory
from storage.trash import Fate, Trash

_REPORTED = 128  # messages, at a time


def run(run: Run, script: str, *, dry_run: bool, as_json: bool) -> int:
    """Take the last run of a script back in every Maildir; return the exit code."""
    tally = run.go(Undoing(script, dry_run).work, Printer(as_json=as_json, text=text).fact)
    say_if_nothing(tally)
    return tally.code


def say_if_nothing(tally: Tally) -> None:
    """Say that nothing was there to be taken back: silence would look like success."""
    if not tally.kinds and tally.code == os.EX_OK:
        name = click.get_current_context().info_name
        click.echo(f"{name}: there is nothing to take back", err=True)


@dataclass(frozen=True, slots=True)
class Undoing:
    """Which script's last run is taken back."""

    script: str
    dry_run: bool

    def work(self, target: Target, maildir: Directory) -> Iterator[Item]:
        """Put back what the last run that is still in the trash took from this Maildir."""
        trash = Trash(maildir, target.layout)
        batches = trash.batches(self.script)
        if not batches:
            return
        batch = batches[-1]
        if self.dry_run:
            yield {"kind": "would put back", "batch": batch.name}
            return
        back = 0
        for number, each in enumerate(trash.take_back(batch), start=1):
            back += each.fate is Fate.BACK
            if number % _REPORTED == 0:
                yield Progressed(_REPORTED)
            name = f"{each.message.part}/{each.message.name}"
            fact: Fact = {"folder": each.folder, "name": name, "octets": each.octets}
            if each.fate is Fate.BACK:
                yield {"kind": "back"} | fact
            else:
                yield {"kind": "left in the trash"} | fact | {"why": each.fate.value}
        yield {"kind": "put back", "batch": batch.name, "messages": back}


def text(fact: Fact) -> str:
    """Write a fact of an undo for people; each message that is back goes without saying."""
    where = shown(fact["maildir"])
    match fact["kind"]:
        case "put back":
            return f"{where}: put back {counted(int(str(fact['messages'])), 'message')} of {fact['batch']}"
        case "would put back":
            return f"{where}: would put back {fact['batch']}"
        case "left in the trash":
            return f"{where}: {shown(fact['folder'])}: left {shown(fact['name'])} in the trash: {fact['why']}"
        case _:
            return ""
