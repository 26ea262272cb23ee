"""`maildir-expire`: mail that is older than a folder's rule allows goes to a trash, and later for good."""

import os
import secrets
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

import click

from scripts import undoing
from scripts.shell.crew import Fact, Item, Progressed
from scripts.shell.failures import Failure
from scripts.shell.output import Printer, counted, shown
from scripts.shell.running import Script, run_script
from scripts.shell.selection import takes_maildirs
from scripts.shell.target import Target
from scripts.shell.timer import absolute, units
from scripts.shell.work import Run, as_json, dry_run, takes_run
from storage import uidlist
from storage.directory import Directory
from storage.errors import MailboxMissing
from storage.folders import FolderNameError, folder_parts
from storage.listing import Folder, enter_folder, folders
from storage.making import make_folder, mode_of
from storage.messages import MessageFile, locate, messages
from storage.moving import move
from storage.names import NameSource
from storage.retention import Kept, Rule, arrival, rule_for
from storage.trash import GROUP, Batch, Trash

_FITTING = "rules that fit"  # a fact that is not printed
SCRIPT = "expire"
UNDO_DAYS = 7
_DAY_S = 86_400
_ARGUMENTS = "scripts.expire.arguments"
_FLAGS = {"answered": "R", "draft": "D", "flagged": "F", "seen": "S"}


class _Remembering(Script):
    """A command that can print its own command line."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep the arguments as they were given."""
        ctx.meta[_ARGUMENTS] = tuple(args)
        return super().parse_args(ctx, args)


@dataclass(frozen=True, slots=True)
class _Wish:
    """What goes, and where to."""

    rules: Sequence[Rule]
    spared: frozenset[str]  # flags
    trash_folder: str
    undo_days: int
    dry_run: bool
    now_s: float
    host: str

    def expire(self, target: Target, maildir: Directory) -> Iterator[Item]:
        """Empty the trash of what is too old for an undo, and fill it."""
        trash = Trash(maildir, target.layout)
        batch = Batch.new(SCRIPT, self.now_s)
        found = list(folders(maildir, target.layout))
        for rule in self.rules:
            if _fits_one(rule, found):
                yield {"kind": _FITTING, "rule": rule.pattern}
        for folder in found:
            first = rule_for(self.rules, folder.name)
            if first is not None:
                yield from self._in_folder(target, maildir, trash, batch, folder, first)
        for old in trash.batches(SCRIPT):
            if old.made_s + self.undo_days * _DAY_S <= self.now_s:
                fact: Fact = {"kind": "would delete" if self.dry_run else "deleted", "batch": old.name}
                if not self.dry_run:
                    usage = trash.purge(old)
                    fact |= {"messages": usage.messages, "octets": usage.octets}
                yield fact

    def _in_folder(
        self, target: Target, maildir: Directory, trash: Trash, batch: Batch, folder: Folder, rule: Rule
    ) -> Iterator[Item]:
        directory = enter_folder(maildir, folder)
        found = list(self._kept(directory))
        yield Progressed(len(found))
        expired = list(rule.expired(found, self.now_s))
        going = [(each, why) for each, why in expired if not self.spared & set(each.message.flags)]
        whys = {each.message.base: (each, why) for each, why in going}
        chosen = [each.message for each, _ in going]
        to = self._destination(target, folder)
        if self.dry_run:
            gone = iter(chosen)
        elif to is None:
            gone = (message for message, _ in trash.put(batch, folder, chosen))
        else:
            gone = self._moved(target, maildir, directory, chosen, to)
        count = octets = 0
        for message in gone:
            each, why = whys[message.base]
            count, octets = count + 1, octets + each.octets
            yield self._fact(folder, each, why)
        if count:
            yield {
                "kind": "would expire in all" if self.dry_run else "expired in all",
                "folder": folder.name,
                "messages": count,
                "octets": octets,
                "to": to.name if to else batch.name,
            }

    def _destination(self, target: Target, folder: Folder) -> Folder | None:
        """Tell which folder mail goes to; None for the scripts' own trash."""
        if not self.trash_folder or folder.name == self.trash_folder:
            return None
        try:
            return Folder(self.trash_folder, folder_parts(target.layout, self.trash_folder))
        except FolderNameError as exc:
            raise Failure(f"--trash-folder {self.trash_folder}: {exc}", os.EX_USAGE) from exc

    def _moved(
        self, target: Target, maildir: Directory, source: Directory, chosen: Sequence[MessageFile], to: Folder
    ) -> Iterator[MessageFile]:
        if not chosen:
            return
        make_folder(maildir, target.layout, to.name, mode_of(maildir))
        names = NameSource(self.host, secrets.token_hex(8))
        into = enter_folder(maildir, to)
        for start in range(0, len(chosen), GROUP):
            moved = []
            with uidlist.locked(source):
                for message in chosen[start : start + GROUP]:
                    with suppress(MailboxMissing):
                        move(source, message, into, names)
                        moved.append(message)
            # First where it is now, so that no crash finds it in neither place.
            for directory in (into.enter("cur"), source.enter("new"), source.enter("cur")):
                directory.sync()
            yield from moved

    def _kept(self, folder: Directory) -> Iterator[Kept]:
        for message in messages(folder).values():
            arrived_s, octets = arrival(message, self.now_s), message.named_octets
            if arrived_s is None or octets is None:
                try:
                    _, status = locate(folder, message)
                except MailboxMissing:
                    continue
                arrived_s = int(status.st_mtime) if arrived_s is None else arrived_s
                octets = status.st_size if octets is None else octets
            yield Kept(message, octets, arrived_s)

    def _fact(self, folder: Folder, each: Kept, why: str) -> Fact:
        return {
            "kind": "would expire" if self.dry_run else "expired",
            "folder": folder.name,
            "name": f"{each.message.part}/{each.message.name}",
            "octets": each.octets,
            "arrived": datetime.fromtimestamp(each.arrived_s, UTC).isoformat(),
            "why": why,
        }


@click.command("maildir-expire", cls=_Remembering)
@takes_maildirs()
@takes_run
@click.option("--keep", "rules", metavar="FOLDER=LIMIT[,LIMIT]...", multiple=True,
              help="What stays in a folder: for how long (12h, 30d, 8w, 2y), how much (500M, 2G), how many "
              "messages (1000).  Repeatable; * in FOLDER is any text, but never the INBOX.")  # fmt: skip
@click.option("--spare", type=click.Choice(sorted(_FLAGS)), multiple=True,
              help="Leave messages with this flag.  Repeatable.")  # fmt: skip
@click.option("--trash-folder", metavar="FOLDER", default="", help="Move mail into this folder, where users "
              "see it, and only from there to the trash that nobody sees.")  # fmt: skip
@click.option("--undo-days", metavar="N", type=click.IntRange(0), default=UNDO_DAYS,
              help=f"Delete for good what has been in the trash so long.  [{UNDO_DAYS}]")  # fmt: skip
@click.option("--undo", "instead", flag_value="undo",
              help="Put back what the last run that is still in the trash has taken.")  # fmt: skip
@click.option("--print-timer", "instead", flag_value="timer",
              help="Print units for systemd that run this command line every night.")  # fmt: skip
@dry_run
@as_json
def maildir_expire(
    run: Run,
    *,
    rules: Sequence[str],
    spare: Sequence[str],
    trash_folder: str,
    undo_days: int,
    instead: str | None,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Take mail out of folders when it has been there for too long, or when there is too much of it.

    Age counts from the arrival in the folder, not from the date of the message; a mail reader that moves a
    message starts it anew.  What goes lies in a trash in the Maildir that no mail reader shows, for --undo,
    and is deleted for good by a run after --undo-days.

    \b
    Examples:
      maildir-expire --all --config /etc/lmtpd/lmtpd.toml --keep Trash=30d --keep Junk=14d,500M,1000
      maildir-expire --user bob@example.org --config /etc/lmtpd/lmtpd.toml --keep 'Lists/*=1y' --dry-run
      maildir-expire --all --config /etc/lmtpd/lmtpd.toml --keep Trash=30d --print-timer
      maildir-expire --user bob@example.org --config /etc/lmtpd/lmtpd.toml --undo
    """
    if instead == "undo":
        return undoing.run(run, SCRIPT, dry_run=dry_run, as_json=as_json)
    wish = _Wish(
        _rules(rules),
        frozenset(_FLAGS[each] for each in spare),
        trash_folder,
        undo_days,
        dry_run=dry_run,
        now_s=time.time(),
        host=run.config.hostname if run.config else socket.gethostname(),
    )
    if instead == "timer":
        return _print_timer()
    return _run(run, wish, Printer(as_json=as_json, text=_text))


def _run(run: Run, wish: _Wish, printer: Printer) -> int:
    useless = dict.fromkeys(rule.pattern for rule in wish.rules)

    def tell(fact: Fact) -> None:
        if fact["kind"] == _FITTING:
            useless.pop(str(fact["rule"]), None)
        else:
            printer.fact(fact)

    tally = run.go(wish.expire, tell)
    if tally.maildirs:
        # No error, since there may be one tomorrow; but whoever has mistyped it would never know.
        for pattern in useless:
            click.echo(f"maildir-expire: --keep {shown(pattern)}: no such folder, nothing to take", err=True)
    return tally.code


def _fits_one(rule: Rule, found: Sequence[Folder]) -> bool:
    return any(rule_for([rule], folder.name) is not None for folder in found)


def _print_timer() -> int:
    context = click.get_current_context()
    arguments = context.meta[_ARGUMENTS]
    left = absolute(context.command, [each for each in arguments if each != "--print-timer"])
    config = os.environ.get("LMTPD_CONFIG")  # the timer's service would not have it
    if config and not any(each.startswith("--config") for each in left):
        left += ["--config", os.path.abspath(config)]
    sys.stdout.write(units("maildir-expire", "Take mail out of folders that is too old", left))
    return os.EX_OK


def _rules(texts: Sequence[str]) -> list[Rule]:
    if not texts:
        raise click.UsageError("what is to stay? Give --keep FOLDER=LIMIT, such as --keep Trash=30d")
    rules = []
    for text in texts:
        try:
            rules.append(Rule.parse(text))
        except ValueError as exc:
            raise click.UsageError(f"--keep {text}: {exc}") from exc
    return rules


def _text(fact: Fact) -> str:
    where = shown(fact["maildir"])
    match fact["kind"]:
        case "would expire":
            return f"{where}: {shown(fact['folder'])}: would take {shown(fact['name'])}: {fact['why']}"
        case "expired in all" | "would expire in all":
            count = counted(int(str(fact["messages"])), "message")
            took = "took" if fact["kind"] == "expired in all" else "would take"
            return f"{where}: {shown(fact['folder'])}: {took} {count} to {shown(fact['to'])}"
        case "deleted":
            count = counted(int(str(fact["messages"])), "message")
            return f"{where}: deleted for good {count} of {fact['batch']}"
        case "would delete":
            return f"{where}: would delete for good {fact['batch']}"
        case _:
            return ""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    return run_script(maildir_expire, "maildir-expire", argv)
