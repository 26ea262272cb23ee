"""`maildir-import`: mail from mbox files, Maildirs and single files into a Maildir."""

import os
import secrets
import socket
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from shutil import copyfileobj

import click

from scripts.shell.acting import Owner, as_oneself
from scripts.shell.crew import Fact, Item, Progressed
from scripts.shell.failures import Failure
from scripts.shell.output import Printer, counted, shown
from scripts.shell.running import Script, run_script
from scripts.shell.selection import takes_maildirs
from scripts.shell.target import Target
from scripts.shell.work import Run, as_json, dry_run, takes_run
from storage import incoming
from storage.directory import Directory
from storage.filling import GROUP_MESSAGES, Filling, Trial
from storage.folders import FolderNameError, folder_parts
from storage.incoming import Dates, Incoming, Reading, Source, Unreadable
from storage.listing import INBOX, Folder, enter_folder
from storage.making import make_folder, mode_of
from storage.mbox import Quoting
from storage.names import NameSource
from storage.subscriptions import subscribe_in


@dataclass(frozen=True, slots=True)
class _Wish:
    """What to import, and how."""

    sources: Sequence[tuple[str, str]]  # what each is called, and its path
    reading: Reading
    folder: str  # below which everything is put; empty: where it was
    seen: bool
    dry_run: bool
    host: str

    def work(self, target: Target, maildir: Directory) -> Iterator[Item]:
        """Import every source into one Maildir, as its owner, reading each as that one's owner."""
        passed_over = False
        names = NameSource(self.host, secrets.token_hex(8))
        tried: dict[str, Trial] = {}
        for number, (name, path) in enumerate(self.sources):
            with closing(_open(path, name)) as source:
                job = _Job(
                    self, target, maildir,
                    owner=Owner.of(maildir.fd), names=names, number=number, tried=tried,
                )  # fmt: skip
                for item in job.run(Owner.of(source.fd).steps(source.read(self.reading))):
                    passed_over |= isinstance(item, dict) and item["kind"] == "passed over"
                    yield item
        if passed_over:
            raise Failure("some of the mail could not be read, see above", os.EX_DATAERR)


class _Job:
    """One source into one Maildir."""

    def __init__(
        self,
        wish: _Wish,
        target: Target,
        maildir: Directory,
        *,
        owner: Owner,
        names: NameSource,
        number: int,
        tried: dict[str, Trial],
    ) -> None:
        self._wish = wish
        self._target = target
        self._maildir = maildir
        self._owner = owner
        self._names = names
        self._number = number
        self._tried = tried  # by folder: of a dry run, what the sources before would have put there
        self._source = wish.sources[number][0]
        self._unreported = 0

    def run(self, mail: Iterator[incoming.Item]) -> Iterator[Item]:
        """Do it, a folder after the other; the source has each folder's messages in one piece."""
        with ExitStack() as cleanup:
            filling: Trial | None = None
            name = ""
            for message in mail:
                if isinstance(message, Unreadable):
                    yield {"kind": "passed over", "source": message.origin, "why": message.why}
                    continue
                if filling is None or name != message.folder:
                    yield from self._finish(name, filling)
                    name = message.folder
                    with self._owner.acting():
                        filling = cleanup.enter_context(closing(self._open(name)))
                if isinstance(message, Incoming):
                    yield from self._put(filling, message)
            yield from self._finish(name, filling)

    def _put(self, filling: Trial, message: Incoming) -> Iterator[Item]:
        with self._owner.acting():
            filling.put(_seen(message) if self._wish.seen else message)
            if filling.is_group_full:
                filling.publish()
        self._unreported += 1
        if self._unreported >= GROUP_MESSAGES:
            sources = len(self._wish.sources)
            yield Progressed(self._unreported, (self._number + message.share) / sources)
            self._unreported = 0

    def _finish(self, name: str, filling: Trial | None) -> Iterator[Item]:
        if filling is None:
            return
        with self._owner.acting():
            filling.publish()
        yield Progressed(self._unreported)
        self._unreported = 0
        yield {
            "kind": "would import" if self._wish.dry_run else "imported",
            "source": self._source,
            "folder": self._folder(name),
            "messages": filling.added.messages,
            "octets": filling.added.octets,
            "skipped": filling.skipped,
        }
        filling.close()

    def _open(self, name: str) -> Trial:
        folder = self._folder(name)
        layout = self._target.layout
        parts = folder_parts(layout, folder)
        if self._wish.dry_run:
            before = self._tried.get(folder)
            trial = before.again() if before else Trial(self._existing(Folder(folder, parts)))
            self._tried[folder] = trial
            return trial
        if make_folder(self._maildir, layout, folder, mode_of(self._maildir)) and parts:
            subscribe_in(self._maildir, layout, folder=folder)
        return Filling(self._maildir, enter_folder(self._maildir, Folder(folder, parts)), self._names)

    def _existing(self, folder: Folder) -> Directory | None:
        try:
            return enter_folder(self._maildir, folder)
        except FileNotFoundError:
            return None

    def _folder(self, name: str) -> str:
        """Name the folder that a folder of the source becomes. Failure."""
        folder = "/".join(filter(None, (self._wish.folder, "" if name == INBOX else name))) or INBOX
        try:
            folder_parts(self._target.layout, folder)
        except FolderNameError as exc:
            # What other programs call a folder may not be possible here: a dot separates levels on disk.
            folder = folder.replace(".", "_")
            try:
                folder_parts(self._target.layout, folder)
            except FolderNameError:
                raise Failure(f"{name}: no folder can be called so: {exc}", os.EX_DATAERR) from exc
        return folder


@click.command("maildir-import", cls=Script)
@takes_maildirs("SOURCE...")
@takes_run
@click.option("--into", "folder", metavar="FOLDER", default="", help="Put everything into this folder, and "
              "folders of the source below it.  [where it was]")  # fmt: skip
@click.option("--seen", is_flag=True, help="Mark everything as seen.")
@click.option("--quoting", type=click.Choice([each.value for each in Quoting]), default=Quoting.RD.value,
              help="How the writer of an mbox marked lines that begin with From: by one more > each (rd), by "
              "one > (o), or not.  [rd]")  # fmt: skip
@click.option("--dates", type=click.Choice([each.value for each in Dates]), default=Dates.HEADER.value,
              help="When a message that is a file of its own arrived: by its header, or by the file.  "
              "[header]")  # fmt: skip
@dry_run
@as_json
def maildir_import(
    run: Run,
    arguments: Sequence[str],
    *,
    folder: str,
    seen: bool,
    quoting: str,
    dates: str,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Put mail from elsewhere into a Maildir: folders, flags, keywords and dates are kept.

    SOURCE is an mbox file, a message (.eml), a Maildir with its folders, as Dovecot, Courier or lmtpd have
    it, a directory of mbox and .eml files, or - for standard input.  What is there already, to the octet, is
    passed over: so this may be interrupted and run again.  A folder that is made is subscribed to.

    Each message is on the disk before it shows.  Started as root, everything is written as the Maildir's
    owner, and each SOURCE read as its own owner.

    \b
    Examples:
      maildir-import /srv/mail/example.org/bob /var/mail/bob
      maildir-import --user bob@example.org --config /etc/lmtpd/lmtpd.toml /home/bob/Maildir --dry-run
      maildir-import /srv/mail/example.org/bob old.mbox more.eml --into Archive/2019 --seen
    """
    if not arguments:
        raise click.UsageError("what is to be imported? Give a file or a directory behind the Maildir")
    if run.selection.is_everyone:
        raise click.UsageError("one Maildir at a time: the same mail for everybody is hardly meant")
    host = run.config.hostname if run.config else socket.gethostname()
    reading = Reading(Quoting(quoting), Dates(dates))
    with ExitStack() as spool:
        sources = [(each, _spooled(spool) if each == "-" else each) for each in arguments]
        wish = _Wish(sources, reading, folder, seen=seen, dry_run=dry_run, host=host)
        printer = Printer(as_json=as_json, text=_text)
        return run.go(wish.work, printer.fact, opener=as_oneself).code


def _open(path: str, name: str) -> Source:
    try:
        return Source.open(path, name)
    except OSError as exc:
        raise Failure(f"{name}: {exc.strerror}", os.EX_NOINPUT) from exc


def _spooled(spool: ExitStack) -> str:
    """Keep standard input in a file: an mbox is read by its offsets."""
    file = spool.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - it is one
    copyfileobj(sys.stdin.buffer, file)
    file.flush()
    return f"/proc/self/fd/{file.fileno()}"


def _seen(message: Incoming) -> Incoming:
    return replace(message, flags="".join({*message.flags, "S"}), is_new=False)


def _text(fact: Fact) -> str:
    where = f"{shown(fact['maildir'])}: "
    if fact["kind"] == "passed over":
        return f"{where}passed over {shown(fact['source'])}: {shown(fact['why'])}"
    messages, skipped = int(str(fact["messages"])), int(str(fact["skipped"]))
    there = f", {skipped:,} {'was' if skipped == 1 else 'were'} there already" if skipped else ""
    what = f"{fact['kind']} {counted(messages, 'message')} from {shown(fact['source'])}{there}"
    return f"{where}{shown(fact['folder'])}: {what}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    return run_script(maildir_import, "maildir-import", argv)
