"""`maildir-check`: what is wrong in a Maildir, mended on demand, and taken back on demand."""

import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from scripts.shell.crew import Fact, Item, Progressed
from scripts.shell.failures import Failure
from scripts.shell.output import Printer, counted, shown
from scripts.shell.running import Script, run_script
from scripts.shell.selection import takes_maildirs
from scripts.shell.target import Target
from scripts.shell.work import Run, as_json, dry_run, takes_run
from scripts.undoing import say_if_nothing
from storage.check_contents import check_contents
from storage.check_folders import check_folder, check_twins
from storage.check_ledger import check_ledger
from storage.check_quota import check_quota
from storage.check_uidlist import check_uidlist
from storage.checking import Expected, check_messages
from storage.directory import Directory
from storage.errors import StorageError
from storage.findings import Finding, Looked, Place, Rename, Weight
from storage.ledger_reading import OpenRecords
from storage.listing import PARTS, Folder, enter_folder, folders
from storage.repairs import repair
from storage.taking_back import take_back
from storage.undo import UndoLog, latest

EX_FOUND = 1  # as diff and grep
DEFAULT_LEDGER = Path("/var/lib/lmtpd/ledger.db")
# Mended together, under one lock of the folder.
_TOGETHER = 1000


@dataclass(frozen=True, slots=True)
class _Check:
    """What to look for, and what to do about it."""

    records: OpenRecords
    contents: bool
    mend: bool
    mend_dry: bool
    is_root: bool

    def check(self, target: Target, maildir: Directory) -> Iterator[Item]:
        expected = Expected.of(maildir, may_give=self.is_root)
        found = list(folders(maildir, target.layout))
        yield from (_fact(finding) for finding in check_twins(found))
        log = UndoLog(maildir, now=time.time_ns())
        try:
            for folder in found:
                yield from self._folder(target, maildir, folder, expected, log)
            yield from self._weigh(maildir, check_quota(maildir, target.layout), log)
        finally:
            log.close()

    def _folder(
        self, target: Target, maildir: Directory, folder: Folder, expected: Expected, log: UndoLog
    ) -> Iterator[Item]:
        directory = enter_folder(maildir, folder)
        yield from self._weigh(directory, self._look(directory, folder, target, expected), log)

    def _weigh(self, directory: Directory, found: Iterable[Finding | Looked], log: UndoLog) -> Iterator[Item]:
        """Tell of findings, or mend them, and tell of that."""
        to_mend: list[Finding] = []
        for item in found:
            if isinstance(item, Looked):
                yield Progressed(item.messages)
            elif item.fix is None or not self.mend:
                yield _fact(item)
            elif self.mend_dry:
                yield _fact(item) | {"repair": "would be done"}
            else:
                to_mend.append(item)
                if len(to_mend) >= _TOGETHER:
                    yield from _mended(directory, to_mend, log)
                    to_mend = []
        yield from _mended(directory, to_mend, log)

    def _look(
        self, directory: Directory, folder: Folder, target: Target, expected: Expected
    ) -> Iterator[Finding | Looked]:
        path = os.path.join(target.path, *folder.parts)
        kept = self.records.names(path)
        seen: set[int] = set()
        yield from check_folder(directory, folder, target.layout, expected)
        for part in PARTS:
            try:
                messages = check_messages(directory, folder, part, expected, kept=kept, seen=seen)
                # Those that are read are counted when they are.
                yield from (each for each in messages if not (self.contents and isinstance(each, Looked)))
            except NotADirectoryError:
                pass  # check_folder has said so
        if self.contents:
            yield from check_contents(directory, folder, uid=expected.uid, kept=kept)
        yield from check_uidlist(directory, folder, seen)
        yield from check_ledger(directory, folder, self.records.of_folder(path))


def _mended(directory: Directory, findings: list[Finding], log: UndoLog) -> Iterator[Fact]:
    for outcome in repair(directory, findings, log):
        told = outcome.error or "done"
        yield _fact(outcome.finding) | {"repair": told, "undo": log.name if told == "done" else None}


def _undo(maildir: Directory, *, dry_run: bool) -> Iterator[Item]:
    name = latest(maildir)
    if name is None:
        return
    for taken in take_back(maildir, name, dry_run=dry_run):
        yield {
            "kind": "undo",
            "folder": "/".join(taken.step.place.folder) or "INBOX",
            "name": _path(taken.step.place),
            "text": f"{taken.step.do}: {taken.error or ('would be taken back' if dry_run else 'taken back')}",
            "failed": bool(taken.error),
        }


@click.command("maildir-check", cls=Script)
@takes_maildirs()
@takes_run
@click.option(
    "--contents", is_flag=True, help="Read every message: W=, files torn by a power cut, equal messages."
)
@click.option("--repair", is_flag=True, help="Mend what a program can mend, noted in an undo log first.")
@click.option("--undo", is_flag=True, help="Take the last repair back.")
@click.option("--faults", is_flag=True, help="Leave out what is worth knowing, but no fault.")
@dry_run
@as_json
def maildir_check(
    run: Run, *, contents: bool, repair: bool, undo: bool, faults: bool, dry_run: bool, as_json: bool
) -> int:
    """Check Maildirs: structure, names, sizes, flags, modes, owners, strays, and what others say of them.

    Looked at are names and status, Dovecot's list of UIDs and lmtpd's ledger; no message is read without
    --contents.  Exit code 1: there are faults.  Repairs take nothing away: messages keep their content, their
    UID and their date.

    \b
    Examples:
      maildir-check /srv/mail/example.org/bob
      maildir-check --all --config /etc/lmtpd/lmtpd.toml --faults --json
      maildir-check --user bob@example.org --config /etc/lmtpd/lmtpd.toml --contents --repair
      maildir-check --user bob@example.org --config /etc/lmtpd/lmtpd.toml --undo
    """
    if undo and (repair or contents):
        raise click.UsageError("--undo does nothing else")
    printer = Printer(as_json=as_json, text=_text)
    if undo:
        tally = run.go(lambda _, maildir: _undo(maildir, dry_run=dry_run), printer.fact)
        say_if_nothing(tally)
        return tally.code
    job = _Check(_records(run), contents, repair, dry_run, os.geteuid() == 0)
    tell = _Teller(printer, faults_only=faults)
    targets = run.targets()
    for fact in _twin_users(targets):
        tell(fact)
    tally = run.go(job.check, tell, targets=targets)
    if not as_json:
        found = f"{counted(tally.messages, 'message')} in {counted(tally.maildirs, 'Maildir')}"
        click.echo(f"{found}: {tell.summary()}")
    return tally.code or (EX_FOUND if tell.counts["fault"] else os.EX_OK)


class _Teller:
    """Prints findings and counts them."""

    def __init__(self, printer: Printer, *, faults_only: bool) -> None:
        self.counts: Counter[str] = Counter()
        self._printer = printer
        self._faults_only = faults_only

    def __call__(self, fact: Fact) -> None:
        is_done = fact.get("repair") == "done"
        self.counts["repaired" if is_done else str(fact["weight"])] += 1
        if not self._faults_only or fact["weight"] == Weight.FAULT.value:
            self._printer.fact(fact)

    def summary(self) -> str:
        counts = self.counts
        mended = f"{counts['repaired']:,} repaired"
        return f"{counted(counts['fault'], 'fault')}, {counted(counts['note'], 'note')}, {mended}"


def _twin_users(targets: Sequence[Target]) -> Iterator[Fact]:
    """Tell mailboxes whose addresses differ in the case of letters alone: mail goes to one of them."""
    first: dict[str, str] = {}
    for target in targets:
        other = first.setdefault(target.user.casefold() or target.path, target.path)
        if other != target.path:
            text = f"another mailbox, {other}, has the same name in other letters"
            place = Place((), "", "")
            yield {"maildir": target.path, "user": target.user} | _fact(Finding("case_twin", place, text))


def _records(run: Run) -> OpenRecords:
    path = run.config.ledger_path if run.config else DEFAULT_LEDGER
    try:
        return OpenRecords.read(path)
    except StorageError as exc:
        raise Failure(str(exc), os.EX_NOINPUT) from exc


def _fact(finding: Finding) -> Fact:
    fact: Fact = {
        "kind": finding.kind,
        "weight": finding.weight.value,
        "folder": "/".join(finding.place.folder) or "INBOX",
        "name": _path(finding.place),
        "text": finding.text,
        "repairable": finding.fix is not None,
    }
    if isinstance(finding.fix, Rename):
        fact["becomes"] = f"{finding.fix.part}/{finding.fix.name}"
    return fact


def _path(place: Place) -> str:
    return "/".join(filter(None, (*place.folder, place.part, place.name)))


def _text(fact: Fact) -> str:
    path = "/".join(filter(None, (str(fact["maildir"]), str(fact["name"]))))
    repair = f" [repair: {fact['repair']}]" if fact.get("repair") else ""
    return f"{shown(path)}: {fact['kind']}: {shown(fact['text'])}{shown(repair)}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    return run_script(maildir_check, "maildir-check", argv)
