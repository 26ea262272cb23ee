"""`maildir-make`: Maildirs and folders, with owner, modes and subscriptions."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import click

from scripts.shell.acting import as_owner
from scripts.shell.crew import Fact, Item
from scripts.shell.failures import Failure
from scripts.shell.output import Printer, shown
from scripts.shell.running import Script, run_script
from scripts.shell.selection import takes_maildirs
from scripts.shell.target import Target
from scripts.shell.work import Run, as_json, dry_run, takes_run
from storage.directory import DIRECTORY_MODE, Directory
from storage.disk import Disk
from storage.folders import FolderNameError, Layout, folder_parts
from storage.making import OwnerIds, make_folder, make_parts, make_way, mode_of
from storage.subscriptions import subscribe_in


@dataclass(frozen=True, slots=True)
class _Wish:
    """What is to be there."""

    folders: Sequence[str]
    owner: OwnerIds | None  # None: his whom the recipient source names, else as the directory above
    mode: int | None  # None: 0700, and for a folder that of its Maildir
    subscribe: bool

    @contextmanager
    def opened(self, target: Target) -> Iterator[Directory]:
        """Make the Maildir itself, and open it as its owner."""
        owner = self.owner or target.owner or _whose(target)
        for _ in make_way(Disk(), target.where, owner, self.mode or DIRECTORY_MODE):
            pass
        with as_owner(target) as maildir:
            yield maildir

    def make(self, target: Target, maildir: Directory) -> Iterator[Item]:
        """Make what is in the Maildir."""
        mode = self.mode or mode_of(maildir)
        if make_parts(maildir, mode):
            yield {"kind": "made", "folder": "INBOX"}
        for folder in self.folders:
            if make_folder(maildir, target.layout, folder, mode, names=target.names):
                yield {"kind": "made", "folder": folder}
            if self.subscribe and subscribe_in(maildir, target.layout, folder=folder, names=target.names):
                yield {"kind": "subscribed", "folder": folder}


@click.command("maildir-make", cls=Script)
@takes_maildirs()
@takes_run
@click.option(
    "--folder", "folders", metavar="NAME", multiple=True, help="Make this folder, A/B.  Repeatable."
)
@click.option("--subscribe", is_flag=True, help="Subscribe to the folders, so that mail readers show them.")
@click.option("--owner", metavar="USER[:GROUP]", help="Whose new Maildirs are.  [server.run_as, else "
              "the source's, else the owner of the directory above]")  # fmt: skip
@click.option("--mode", metavar="OCTAL", help="Of the directories made.  [0700; folders: as their Maildir]")
@dry_run
@as_json
def maildir_make(
    run: Run,
    *,
    folders: Sequence[str],
    subscribe: bool,
    owner: str | None,
    mode: str | None,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Make a Maildir, or what is missing of it, and folders in it.

    What is there already is left as it is, so this may be run again.  As root, all is made with the rights
    of the owner.

    \b
    Examples:
      maildir-make /srv/mail/example.org/bob --owner vmail
      maildir-make --user bob@example.org --config /etc/lmtpd/lmtpd.toml --folder Sent --folder Lists/python
      maildir-make --all --mailboxes '/srv/mail/{domain}/{user}' --folder Junk --subscribe
    """
    run_as = run.config.server.run_as if run.config and not run.config.acts_as_recipients else None
    wish = _Wish(
        tuple(dict.fromkeys(folders)), _owner(owner or run_as), _mode(mode) if mode else None, subscribe
    )
    targets = run.targets(makes=True)
    for layout in {target.layout for target in targets}:
        _check_names(layout, folders)
    printer = Printer(as_json=as_json, text=_text)
    if dry_run:
        for target in targets:
            for fact in _missing(target, wish):
                printer.fact({"maildir": target.path} | fact)
        return os.EX_OK
    return run.go(wish.make, printer.fact, opener=wish.opened, targets=targets).code


def _whose(target: Target) -> OwnerIds:
    """Tell whose a Maildir is; one that is yet to be made, or was half made as root, his above it."""
    with suppress(FileNotFoundError):
        status = os.lstat(target.path)
        if status.st_uid != 0:
            return OwnerIds(status.st_uid, status.st_gid)
    return OwnerIds.of_parent(target.path)


def _missing(target: Target, wish: _Wish) -> Iterator[Fact]:
    """Say what would be made, looking at paths only."""
    for folder in ("INBOX", *wish.folders):
        path = os.path.join(target.path, *folder_parts(target.layout, folder, names=target.names))
        if not all(os.path.isdir(os.path.join(path, part)) for part in ("tmp", "new", "cur")):
            yield {"kind": "would make", "folder": folder}


def _text(fact: Fact) -> str:
    return f"{shown(fact['maildir'])}: {fact['kind']} {shown(fact['folder'])}"


def _owner(text: str | None) -> OwnerIds | None:
    try:
        return OwnerIds.parse(text) if text else None
    except ValueError as exc:
        raise Failure(f"--owner {text}: {exc}", os.EX_NOUSER) from exc


def _mode(text: str) -> int:
    try:
        mode = int(text, 8)
    except ValueError:
        mode = -1
    if mode & ~0o2770 or mode & 0o700 != 0o700:
        raise Failure(
            f"--mode {text}: write 0700, or 0750, 0770, 2770 to share with the group; "
            "others never have a right in a Maildir",
            os.EX_USAGE,
        )
    return mode


def _check_names(layout: Layout, folders: Sequence[str]) -> None:
    for folder in folders:
        try:
            folder_parts(layout, folder)
        except FolderNameError as exc:
            raise Failure(f"--folder {shown(folder)}: {exc}", os.EX_USAGE) from exc


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    return run_script(maildir_make, "maildir-make", argv)
