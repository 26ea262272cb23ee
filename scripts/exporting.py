"""`maildir-export`: mail out of Maildirs, as mbox, tar or single messages."""

import functools
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256

import click

from scripts.shell.acting import Owner, as_oneself
from scripts.shell.crew import Fact, Item, Progressed
from scripts.shell.failures import Failure
from scripts.shell.output import Printer, counted, shown
from scripts.shell.running import Script, run_script
from scripts.shell.selection import takes_maildirs
from scripts.shell.target import Target
from scripts.shell.work import Run, as_json, dry_run, takes_run
from storage.archives import Archive, EmlTree, MboxArchive, MboxTree, TarArchive, Written
from storage.directory import Directory
from storage.keywords import keywords
from storage.listing import enter_folder, folders
from storage.outgoing import Choice, Outgoing, chosen_folders, outgoing

_FORMATS: dict[str, Callable[[str], Archive]] = {
    "mbox": MboxArchive,
    "mbox-tree": MboxTree,
    "tar": TarArchive,
    "eml": EmlTree,
}
_IN_A_FILE = {"mbox": ".mbox", "tar": ".tar"}
_FLAGS = {"answered": "R", "deleted": "T", "draft": "D", "flagged": "F", "forwarded": "P", "seen": "S"}
_REPORTED = 128  # messages, at a time


@dataclass(frozen=True, slots=True)
class _Wish:
    """What to export, and where to."""

    choice: Choice
    form: str
    output: str
    replaces: bool  # what is there already
    is_one: bool  # one Maildir goes to output; of several each has its own below it
    dry_run: bool

    def work(self, target: Target, maildir: Directory) -> Iterator[Item]:
        """Export one Maildir: read as its owner, written as whoever calls."""
        path = self._path(target)
        if self.is_one:
            self._check_folders(target, maildir)
        if self.dry_run:
            yield from self._read(target, maildir, _Nothing(), path)
            return
        if not self.replaces and _is_taken(path):
            raise Failure(f"{path} is there already: give another --output, or --force", os.EX_CANTCREAT)
        if not self.is_one:
            os.makedirs(self.output, mode=0o700, exist_ok=True)
        with closing(_FORMATS[self.form](path)) as archive:
            yield from self._read(target, maildir, archive, path)
            for written in archive.finish():
                yield {
                    "kind": "wrote",
                    "path": written.path,
                    "octets": written.octets,
                    "sha256": written.sha256,
                    "verified": written.is_verified,
                }

    def _check_folders(self, target: Target, maildir: Directory) -> None:
        """See that there is something to export before the archive is begun. Failure, OSError.

        Of several Maildirs one or the other may well lack a folder.
        """
        with Owner.of(maildir.fd).acting():
            if chosen_folders(maildir, target.layout, self.choice):
                return
            there = ", ".join(sorted(shown(folder.name) for folder in folders(maildir, target.layout)))
        wanted = ", ".join(map(shown, self.choice.folders))
        raise Failure(f"no folder is named {wanted}; there are {there}", os.EX_NOINPUT)

    def _read(self, target: Target, maildir: Directory, archive: Archive, path: str) -> Iterator[Item]:
        owner = Owner.of(maildir.fd)
        count = octets = 0
        with owner.acting():
            found = chosen_folders(maildir, target.layout, self.choice)
        for number, folder in enumerate(found):
            with owner.acting():
                letters = keywords(enter_folder(maildir, folder))
            archive.begin(folder, letters)
            for message in owner.steps(outgoing(maildir, folder, self.choice)):
                note = archive.add(message)
                count, octets = count + 1, octets + len(message.content)
                yield _of(message, note)
                if count % _REPORTED == 0:
                    yield Progressed(_REPORTED, (number + message.share) / len(found))
        yield Progressed(count % _REPORTED)
        kind = "would export" if self.dry_run else "exported"
        yield {"kind": kind, "path": path, "messages": count, "octets": octets}

    def _path(self, target: Target) -> str:
        if self.is_one:
            return self.output
        name = (target.user or target.path).strip("/").replace("/", "_")
        return os.path.join(self.output, name + _IN_A_FILE.get(self.form, ""))


def _is_taken(path: str) -> bool:
    """Tell whether something would be overwritten; an empty directory holds nothing, and a device neither."""
    if os.path.isdir(path):
        return bool(os.listdir(path))
    return os.path.isfile(path) or os.path.islink(path)


class _Nothing:
    """The archive of a dry run."""

    def begin(self, folder: object, letters: object) -> None:
        """Take no folder."""

    def add(self, message: object) -> str:  # noqa: ARG002 - an archive's
        """Take no message."""
        return ""

    def finish(self) -> Iterator[Written]:
        """Have written nothing."""
        return iter(())

    def close(self) -> None:
        """Close nothing."""


def takes_choice(function: Callable[..., int]) -> Callable[..., int]:
    """Give a command the options that choose messages; it is called with `choice`."""

    @functools.wraps(function)
    def command(
        *arguments: object,
        folders: Sequence[str],
        since: str | None,
        before: str | None,
        flags: Sequence[str],
        without: Sequence[str],
        headers: Sequence[str],
        **others: object,
    ) -> int:
        choice = Choice(
            folders,
            _moment("--since", since),
            _moment("--before", before),
            frozenset(_FLAGS.get(each.lower(), each) for each in flags),
            frozenset(_FLAGS.get(each.lower(), each) for each in without),
            [_header(each) for each in headers],
        )
        return function(*arguments, choice=choice, **others)

    for option in reversed(_CHOICE):
        command = option(command)
    return command


_CHOICE = (
    click.option(
        "--folder",
        "folders",
        metavar="NAME",
        multiple=True,
        help="Only this one; * is any text.  Repeatable.",
    ),
    click.option(
        "--since",
        metavar="DATE",
        help="Only what arrived then or later, by the date of its file: 2026-01-31.",
    ),
    click.option("--before", metavar="DATE", help="Only what arrived before."),
    click.option(
        "--flag",
        "flags",
        metavar="FLAG",
        multiple=True,
        help="Only with this flag: seen, answered, flagged, draft, deleted, forwarded, or a keyword.  "
        "Repeatable: with all of them.",
    ),
    click.option(
        "--without-flag", "without", metavar="FLAG", multiple=True, help="Only without.  Repeatable."
    ),
    click.option(
        "--header",
        "headers",
        metavar="NAME=TEXT",
        multiple=True,
        help="Only if a field of this name has the text in it, in any case of letters.  Repeatable.",
    ),
)
_FORM = click.option(
    "--format",
    "form",
    type=click.Choice(list(_FORMATS)),
    required=True,
    help="One mbox, a directory with an mbox for each folder, a tar file that unpacks as a Maildir, or a "
    "directory of .eml files.",
)
_OUTPUT = click.option(
    "--output",
    metavar="PATH",
    required=True,
    help="A file, or - for standard output; a directory for mbox-tree and eml, and where there may be "
    "several Maildirs.",
)


@click.command("maildir-export", cls=Script)
@takes_maildirs()
@takes_run
@_FORM
@_OUTPUT
@click.option("--force", is_flag=True, help="Replace what is there already.")
@takes_choice
@dry_run
@as_json
def maildir_export(
    run: Run, *, form: str, output: str, force: bool, choice: Choice, dry_run: bool, as_json: bool
) -> int:
    """Write mail to an archive: the same mail gives the same octets, whenever and wherever.

    Folders, flags, keywords and dates go with it as far as the format has a place for them; maildir-import
    reads them back.  A file is read again and held against its SHA-256 before it appears under its name.

    \b
    Examples:
      maildir-export /srv/mail/example.org/bob --format tar --output - | zstd > bob.tar.zst
      maildir-export /srv/mail/example.org/bob --format mbox --output new.mbox --since 2026-01-01
      maildir-export --all --config /etc/lmtpd/lmtpd.toml --format tar --output /backup/mail
      maildir-export /srv/mail/example.org/bob --format eml --output python --header List-Id=python
    """
    targets = run.targets()
    is_one = run.selection.maildir is not None or (not run.selection.is_everyone and len(targets) == 1)
    if output == "-" and (not is_one or form not in _IN_A_FILE):
        raise click.UsageError("standard output is for one Maildir, and for --format mbox or tar")
    wish = _Wish(choice, form, output, force, is_one, dry_run)
    # What is exported and what is said of it must not mix.
    on_stderr = output == "-" and not dry_run
    printer = Printer(as_json=as_json, text=_text, on_stderr=on_stderr)
    return run.go(wish.work, printer.fact, opener=as_oneself, targets=targets).code


def _of(message: Outgoing, note: str) -> Fact:
    fact: Fact = {
        "kind": "message",
        "folder": message.folder.name,
        "name": f"{message.place.part}/{message.place.name}",
        "octets": len(message.content),
        "sha256": sha256(message.content).hexdigest(),
        "arrived": datetime.fromtimestamp(message.arrived_s, UTC).isoformat(),
    }
    return fact | ({"note": note} if note else {})


def _moment(option: str, text: str | None) -> float | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as exc:
        raise click.UsageError(f"{option} {text}: write 2026-01-31, or 2026-01-31T12:00:00+01:00") from exc
    return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()


def _header(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise click.UsageError(f"--header {text}: write NAME=TEXT, such as List-Id=python")
    return name, value


def _text(fact: Fact) -> str:
    where = shown(fact["maildir"])
    match fact["kind"]:
        case "message":
            name = f"{fact['folder']}: {fact['name']}"
            return f"{where}: {shown(name)}: {fact['note']}" if "note" in fact else ""
        case "wrote":
            verified = ", read back and the same" if fact["verified"] else ""
            return f"{where}: wrote {shown(fact['path'])}, sha256 {fact['sha256']}{verified}"
        case _:
            count = counted(int(str(fact["messages"])), "message")
            return f"{where}: {fact['kind']} {count} to {shown(fact['path'])}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    return run_script(maildir_export, "maildir-export", argv)
