"""Which Maildirs a script works on: one by its path, those of users, or all that are configured."""

import functools
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import click

from lmtpd.cli.addresses import parse_address
from lmtpd.cli.directory import build_directory
from lmtpd.cli.failures import Failure as ServerFailure
from lmtpd.cli.options import Settings, takes_settings
from lmtpd.config import Config, Need
from lmtpd.recipients.directory import Directory
from lmtpd.recipients.mailbox import Mailbox, Mailboxes, Unavailable, Unknown
from scripts.shell.everybody import Missed, everybody, target_of
from scripts.shell.failures import Failure
from scripts.shell.output import shown
from scripts.shell.target import Target, is_missing
from storage.disk import Disk
from storage.folders import FolderNames, Layout
from storage.maildir import MaildirPath

Function = Callable[..., int]


def say(missed: Missed) -> None:
    """Say on standard error who is missed."""
    click.echo(f"{click.get_current_context().info_name}: {shown(missed.text)}", err=True)


@dataclass(frozen=True, slots=True)
class Selection:
    """What the command line chose. Nothing was looked up yet."""

    settings: Settings
    maildir: str | None
    users: Sequence[str]
    is_everyone: bool
    users_from: str | None = None  # a file of addresses, one a line; "-" is standard input

    def config(self) -> Config | None:
        """Read the configuration; None if the command line names none and needs none."""
        if self.maildir is not None:
            given = self.settings.file or self.settings.overrides
            return self.settings.load() if given else None
        return self.settings.load(Need.MAILBOXES)

    def targets(
        self, config: Config | None, *, missed: Callable[[Missed], None] = say, makes: bool = False
    ) -> Iterator[Target]:
        """Yield the Maildirs. Failure for a user who is none, or a tree that cannot be read.

        missed: is told of those of all who cannot be found. makes: of all also those that a user has not
        yet, since no mail has come for him.
        """
        if self.maildir is not None:
            layout = Layout(config.mailboxes.layout) if config else Layout.MAILDIRPP
            names = FolderNames(config.mailboxes.folder_names) if config else FolderNames.UTF7
            yield Target(given_path(self.maildir), layout, names=names)
            return
        assert config is not None
        if self.is_everyone:
            for each in everybody(config):
                if isinstance(each, Missed):
                    missed(each)
                elif makes or not (each.may_be_missing and is_missing(each)):
                    yield each
        if self.users or self.users_from is not None:
            yield from self._of_users(build_directory(config, Disk()))

    def _of_users(self, directory: Directory) -> Iterator[Target]:
        """Yield the Maildirs of the users who are named, each once: aliases may lead to the same."""
        seen = set()
        for user in self.users:
            target = _of_user(directory, user)
            if target.where not in seen:
                seen.add(target.where)
                yield target
        for user in _listed(self.users_from):
            try:
                target = _of_user(directory, user)
            except Failure as exc:
                # One line of many that is no mailbox stops nothing.
                if exc.code not in (os.EX_NOUSER, os.EX_DATAERR):
                    raise
                click.echo(ascii(str(exc))[1:-1], err=True)
                continue
            if target.where not in seen:
                seen.add(target.where)
                yield target


def takes_maildirs(rest: str = "") -> Callable[[Function], Function]:
    """Give a command the argument MAILDIR, --user and --all, and where the configuration is.

    It is called with its `Selection` first. rest: what stands behind MAILDIR in the usage, "SOURCE..." say;
    the command then gets `arguments`, a tuple.
    """

    def decorate(function: Function) -> Function:
        @functools.wraps(function)
        def command(
            settings: Settings,
            *,
            positional: tuple[str, ...],
            users: tuple[str, ...],
            is_everyone: bool,
            users_from: str | None,
            **others: object,
        ) -> int:
            has_users = bool(users) or users_from is not None
            maildir, arguments = _divide(positional, is_named=not has_users and not is_everyone)
            if has_users and is_everyone:
                raise click.UsageError("--all is everybody: --user is one too many")
            if rest:
                others["arguments"] = arguments
            elif arguments:
                raise click.UsageError(f"one Maildir, or --user, or --all; {arguments[0]!r} is one too many")
            return function(Selection(settings, maildir, users, is_everyone, users_from), **others)

        decorated = takes_settings(command)
        argument = click.argument(
            "positional", metavar=f"[MAILDIR] {rest}".rstrip(), nargs=-1, type=click.Path()
        )
        for option in (*_OPTIONS, argument):
            decorated = option(decorated)
        return decorated

    return decorate


_OPTIONS = (
    click.option(
        "--all", "is_everyone", is_flag=True, help="The mailboxes of all users, of every recipient source."
    ),
    click.option(
        "--users-from",
        metavar="FILE",
        type=click.Path(dir_okay=False, allow_dash=True),
        help="The mailboxes of the addresses in FILE, one a line; - is standard input.",
    ),
    click.option(
        "--user",
        "users",
        metavar="ADDRESS",
        multiple=True,
        help="The mailbox of this address, as lmtpd would find it.  Repeatable.",
    ),
)


def given_path(path: str) -> MaildirPath:
    """Name a Maildir as the administrator wrote it. A link in its place is refused: who made it?"""
    path = os.path.abspath(path)
    root, _, name = path.rpartition("/")
    if not name:
        raise Failure("the root of the file system is no Maildir", os.EX_USAGE)
    if os.path.islink(path):
        raise Failure(f"{path} is a link to {os.readlink(path)}: give the directory itself", os.EX_NOINPUT)
    return MaildirPath(root or "/", (name,))


def _divide(positional: tuple[str, ...], *, is_named: bool) -> tuple[str | None, tuple[str, ...]]:
    if not is_named:
        return None, positional
    if not positional:
        raise click.UsageError("which Maildir? Give its path, or --user ADDRESS, or --all")
    return positional[0], positional[1:]


def _listed(path: str | None) -> Iterator[str]:
    """Yield the addresses in a file; empty lines and those that begin with # are none."""
    if path is None:
        return
    try:
        with click.open_file(path, encoding="utf-8", errors="surrogateescape") as file:
            for line in file:
                if (address := line.strip()) and not address.startswith("#"):
                    yield address
    except OSError as exc:
        raise Failure(f"{path}: {exc.strerror}", os.EX_NOINPUT) from exc


def _of_user(directory: Directory, user: str) -> Target:
    try:
        address = parse_address(user)
    except ServerFailure as exc:
        raise Failure(exc.message, exc.exit_code) from exc
    match directory.find(address):
        case Mailbox() as mailbox:
            return target_of(mailbox, user)
        case Mailboxes(mailboxes=several):
            named = ", ".join(each.address for each in several)
            raise Failure(f"{user} stands for several mailboxes: {named}", os.EX_USAGE)
        case Unknown() as unknown:
            raise Failure(f"{user}: {unknown.reason}", os.EX_NOUSER)
        case Unavailable() as unavailable:
            raise Failure(f"{user}: {unavailable.reason}", os.EX_TEMPFAIL)
