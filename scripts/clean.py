"""`maildir-clean`: what nobody needs any more in tmp/, and empty folders."""

import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import click

from scripts.shell.crew import Fact, Item
from scripts.shell.output import Printer, counted, shown
from scripts.shell.running import Script, run_script
from scripts.shell.selection import takes_maildirs
from scripts.shell.target import Target
from scripts.shell.work import Run, as_json, dry_run, takes_run
from storage.directory import Directory
from storage.emptiness import empty_folders
from storage.leftovers import Leftover, Verdict, leftovers, remove
from storage.listing import enter_folder, folders
from storage.names import escaped_host
from storage.owners import is_running
from storage.removal import NotEmpty, remove_folder
from storage.undo import outdated

_DAY_S = 86_400
# How long a repair can be taken back; as long as lmtpd keeps its history.
UNDO_DAYS = 30


@dataclass(frozen=True, slots=True)
class _Cleaning:
    """What to do in each Maildir."""

    host: str
    now: float
    empty_days: int | None
    dry_run: bool

    def clean(self, target: Target, maildir: Directory) -> Iterator[Item]:
        for folder in folders(maildir, target.layout):
            directory = enter_folder(maildir, folder)
            for leftover in leftovers(directory, now=self.now, host=self.host, is_alive=is_running):
                yield from self._judged(directory, folder.name, leftover)
        yield from self._undo_logs(maildir)
        if self.empty_days is not None:
            yield from self._remove_folders(target, maildir, self.empty_days)

    def _judged(self, directory: Directory, folder: str, leftover: Leftover) -> Iterator[Fact]:
        goes = leftover.verdict in (Verdict.STALE, Verdict.DEAD)
        if goes and not self.dry_run and not remove(directory, leftover):
            return  # somebody else was faster
        yield {
            "kind": self._kind(goes=goes),
            "folder": folder,
            "name": f"tmp/{leftover.name}",
            "octets": leftover.octets,
            "idle_s": round(leftover.idle_s),
            "why": leftover.verdict.value,
        }

    def _undo_logs(self, maildir: Directory) -> Iterator[Fact]:
        for name, status in outdated(maildir, before=self.now - UNDO_DAYS * _DAY_S):
            if not self.dry_run:
                maildir.disk.unlink(name, dir_fd=maildir.fd)
            yield {
                "kind": self._kind(goes=True),
                "folder": "INBOX",
                "name": name,
                "octets": status.st_size,
                "idle_s": round(self.now - status.st_mtime),
                "why": f"an undo log of maildir-check, older than {UNDO_DAYS} days",
            }

    def _remove_folders(self, target: Target, maildir: Directory, days: int) -> Iterator[Fact]:
        # The deepest first, so that what lies above them may be empty then.
        for folder, why_kept in empty_folders(maildir, target.layout, before=self.now - days * _DAY_S):
            why = why_kept or f"it has been empty for more than {counted(days, 'day')}"
            goes = not why_kept
            if goes and not self.dry_run:
                parent = maildir
                for part in folder.parts[:-1]:
                    parent = parent.enter(part)
                try:
                    remove_folder(parent, folder.parts[-1])
                except NotEmpty as exc:
                    goes, why = False, str(exc)
            yield {"kind": self._kind(goes=goes), "folder": folder.name, "why": why}

    def _kind(self, *, goes: bool) -> str:
        return ("would remove" if self.dry_run else "removed") if goes else "kept"


@click.command("maildir-clean", cls=Script)
@takes_maildirs()
@takes_run
@click.option("--empty-folders", "empty_days", metavar="DAYS", type=click.IntRange(0),
              help="Remove folders, too, that have been empty for so long, have none below them, and are not "
              "subscribed to.")  # fmt: skip
@dry_run
@as_json
def maildir_clean(run: Run, *, empty_days: int | None, dry_run: bool, as_json: bool) -> int:
    """Remove from tmp/ what interrupted deliveries have left there, and say what and why.

    A file goes if nothing has touched it for 36 hours, or if its name says that a process of lmtpd on this
    machine made it which is dead.  What may be a delivery under way stays.  Mail is never touched.  Undo logs
    of maildir-check go after 30 days.

    \b
    Examples:
      maildir-clean /srv/mail/example.org/bob --dry-run
      maildir-clean --all --config /etc/lmtpd/lmtpd.toml
      maildir-clean --user bob@example.org --config /etc/lmtpd/lmtpd.toml --empty-folders 90
    """
    host = run.config.hostname if run.config else socket.gethostname()
    cleaning = _Cleaning(escaped_host(host), time.time(), empty_days, dry_run)
    printer = Printer(as_json=as_json, text=_text)
    return run.go(cleaning.clean, printer.fact).code


def _text(fact: Fact) -> str:
    folder, what = str(fact["folder"]), "the folder"
    if "name" in fact:
        folder, what = f"{folder}", f"{fact['name']} ({fact['octets']} octets)"
    return f"{shown(fact['maildir'])}: {shown(folder)}: {fact['kind']} {shown(what)}: {shown(fact['why'])}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    return run_script(maildir_clean, "maildir-clean", argv)
