"""`--undo` of the scripts that put mail into their trash: the last run's comes back."""

from collections.abc import Iterator
from dataclasses import dataclass

from scripts.shell.crew import Fact, Item, Progressed
from scripts.shell.output import counted, shown
from scripts.shell.target import Target
from storage.directory import Directory
from storage.trash import Fate, Trash

_REPORTED = 128  # messages, at a time


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
