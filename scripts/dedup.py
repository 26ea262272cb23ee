"""`maildir-dedup`: messages that are there more than once, shown, removed, or made links."""

import secrets
import socket
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import click

from scripts import undoing
from scripts.shell.crew import Fact, Item, Progressed
from scripts.shell.output import Printer, counted, shown
from scripts.shell.running import Script, run_script
from scripts.shell.selection import takes_maildirs
from scripts.shell.target import Target
from scripts.shell.work import Run, as_json, at_most_one, dry_run, takes_run
from storage import uidlist
from storage.directory import Directory
from storage.duplicates import Copy, Group, Sameness, copies_in, groups
from storage.errors import MailboxMissing
from storage.listing import Folder, enter_folder, folders
from storage.merging import Linked, is_there, link_over, mark
from storage.messages import MessageFile
from storage.names import NameSource
from storage.trash import Batch, Trash

SCRIPT = "dedup"
UNDO_DAYS = 7
_DAY_S = 86_400
# Groups between two looks at whether those that stay are still there.
_GROUPS = 128


@dataclass(frozen=True, slots=True)
class _Wish:
    """What counts as the same, and what is done about it."""

    sameness: Sameness
    across: bool
    action: str | None  # remove, link; None: nothing
    undo_days: int
    now_s: float
    host: str

    def work(self, target: Target, maildir: Directory) -> Iterator[Item]:
        """Deal with one Maildir."""
        found = list(folders(maildir, target.layout))
        for scope in [found] if self.across else [[folder] for folder in found]:
            copies = [copy for folder in scope for copy in copies_in(maildir, folder)]
            yield Progressed(len(copies))
            same = groups(maildir, copies, self.sameness)
            match self.action:
                case "remove":
                    yield from self._remove(target, maildir, same)
                case "link":
                    yield from self._link(maildir, same)
                case _:
                    for group in same:
                        yield _group(group)
                        for copy in group.surplus:
                            yield _fact("surplus", copy, group)
        if self.action == "remove":
            yield from self._purge(Trash(maildir, target.layout))

    def _remove(self, target: Target, maildir: Directory, same: Sequence[Group]) -> Iterator[Item]:
        trash, batch = Trash(maildir, target.layout), Batch.new(SCRIPT, self.now_s)
        for start in range(0, len(same), _GROUPS):
            some = [group for group in same[start : start + _GROUPS] if _marked(maildir, group)]
            surplus: defaultdict[Folder, dict[str, tuple[Copy, Group]]] = defaultdict(dict)
            for group in some:
                for copy in group.surplus:
                    surplus[copy.folder][copy.message.base] = (copy, group)
            gone: dict[tuple[Folder, str], MessageFile] = {}
            for folder, chosen in surplus.items():
                for place, _ in trash.put(batch, folder, [copy.message for copy, _ in chosen.values()]):
                    gone[folder, place.base] = place
            for group in some:
                yield from _told(maildir, trash, batch, group, gone)

    def _link(self, maildir: Directory, same: Sequence[Group]) -> Iterator[Item]:
        names = NameSource(self.host, secrets.token_hex(8))
        for group in same:
            yield _group(group)
            for copy in group.surplus:
                with uidlist.locked(enter_folder(maildir, copy.folder)):
                    linked = link_over(maildir, group.kept, copy, names)
                fact = _fact("linked" if linked is Linked.DONE else "kept", copy, group)
                yield fact if linked is Linked.DONE else fact | {"why": linked.value}

    def _purge(self, trash: Trash) -> Iterator[Item]:
        for old in trash.batches(SCRIPT):
            if old.made_s + self.undo_days * _DAY_S <= self.now_s:
                usage = trash.purge(old)
                yield {
                    "kind": "deleted",
                    "batch": old.name,
                    "messages": usage.messages,
                    "octets": usage.octets,
                }


def _marked(maildir: Directory, group: Group) -> bool:
    """Give the one that stays the flags of all; tell whether it is there."""
    with suppress(MailboxMissing):
        mark(maildir, group.kept, group.flags_to_add)
        return is_there(maildir, group.kept)
    return False


def _told(
    maildir: Directory, trash: Trash, batch: Batch, group: Group, gone: dict[tuple[Folder, str], MessageFile]
) -> Iterator[Fact]:
    """Say what went; if what was to stay has been deleted meanwhile, one of the others stays in its stead."""
    yield _group(group)
    removed = [copy for copy in group.surplus if (copy.folder, copy.message.base) in gone]
    if removed and not is_there(maildir, group.kept):
        copy = removed.pop(0)
        trash.return_one(batch, copy.folder, gone[copy.folder, copy.message.base])
        yield _fact("kept", copy, group) | {"why": "the one that was to stay was deleted meanwhile"}
    for copy in removed:
        yield _fact("removed", copy, group)


def _group(group: Group) -> Fact:
    kept = group.kept
    return {
        "kind": "group",
        "key": group.key,
        "messages": len(group.copies),
        "folder": kept.folder.name,
        "name": f"{kept.message.part}/{kept.message.name}",
        "flags": group.flags_to_add,
    }


def _fact(kind: str, copy: Copy, group: Group) -> Fact:
    return {
        "kind": kind,
        "folder": copy.folder.name,
        "name": f"{copy.message.part}/{copy.message.name}",
        "octets": copy.octets,
        "key": group.key,
    }


@click.command("maildir-dedup", cls=Script)
@takes_maildirs()
@takes_run
@click.option(
    "--by",
    type=click.Choice([each.value for each in Sameness]),
    default=Sameness.CONTENT.value,
    help="What is the same: all octets; all but the fields that deliveries add on top (mail); or the "
    "Message-ID.  [content]",
)
@click.option("--across", is_flag=True, help="Compare the messages of all folders, not of each by itself.")
@click.option("--remove", is_flag=True, help="Leave one, and take out the others.")
@click.option(
    "--link",
    is_flag=True,
    help="Store those once that have the same octets and the same date, each under its own name.",
)
@click.option(
    "--undo",
    is_flag=True,
    help="Put back what the last --remove still in the trash has taken.",
)
@dry_run
@as_json
def maildir_dedup(
    run: Run, *, by: str, across: bool, remove: bool, link: bool, undo: bool, dry_run: bool, as_json: bool
) -> int:
    """Find messages that are there more than once; without --remove or --link they are only shown.

    The oldest one stays, under its name and UID, one that is not marked as deleted before one that is.  It
    gets the flags seen, answered, flagged and forwarded, and the keywords, of those that go.  What --remove
    takes lies in a trash in the Maildir that no mail reader shows, for --undo, for seven days.

    \b
    Examples:
      maildir-dedup /srv/mail/example.org/bob
      maildir-dedup /srv/mail/example.org/bob --by message-id --remove --dry-run
      maildir-dedup --all --config /etc/lmtpd/lmtpd.toml --across --link
      maildir-dedup --user bob@example.org --config /etc/lmtpd/lmtpd.toml --undo
    """
    action = at_most_one({"--remove": remove, "--link": link, "--undo": undo})
    if action == "undo":
        return undoing.run(run, SCRIPT, dry_run=dry_run, as_json=as_json)
    sameness = Sameness(by)
    if action == "link" and sameness is not Sameness.CONTENT:
        raise click.UsageError(f"only the same octets can be stored once: --link does not go with --by {by}")
    host = run.config.hostname if run.config else socket.gethostname()
    wish = _Wish(sameness, across, None if dry_run else action, UNDO_DAYS, time.time(), host)
    return run.go(wish.work, Printer(as_json=as_json, text=_text).fact).code


def _text(fact: Fact) -> str:
    where = shown(fact["maildir"])
    place = shown(f"{fact.get('folder')}: {fact.get('name')}")
    match fact["kind"]:
        case "group":
            return f"{where}: {place} is there {counted(int(str(fact['messages'])), 'time')}, and stays"
        case "deleted":
            count = counted(int(str(fact["messages"])), "message")
            return f"{where}: deleted for good {count} of {fact['batch']}"
        case "kept":
            return f"{where}:     {place} is kept: {fact['why']}"
        case kind:
            return f"{where}:     {place} is {kind}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    return run_script(maildir_dedup, "maildir-dedup", argv)
