"""`lmtpd manual`: manual pages and shell completion of all commands, for a system's share directory."""

import importlib
import os
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

import click
from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete

from lmtpd import __version__
from lmtpd.cli.failures import Failure
from lmtpd.cli.roff import page

DISTRIBUTION = "maildir-lmtpd"
# Where each shell looks below a share directory.
_COMPLETIONS: dict[str, type[ShellComplete]] = {
    "bash-completion/completions/{name}": BashComplete,
    "zsh/site-functions/_{name}": ZshComplete,
    "fish/vendor_completions.d/{name}.fish": FishComplete,
}


@click.command()
@click.argument("directory", type=click.Path(file_okay=False))
def manual(*, directory: str) -> int:
    """Write the manual pages and the shell completion of all commands below DIRECTORY.

    The text is that of --help.  Files of an earlier version are replaced.

    \b
    Examples:
      lmtpd manual /usr/local/share
      lmtpd manual ~/.local/share && man lmtpd-serve
    """
    try:
        for path, text in files():
            target = Path(directory, path)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
            click.echo(target)
    except OSError as exc:
        raise Failure(f"{exc.filename or directory}: {exc.strerror}", os.EX_CANTCREAT) from exc
    return os.EX_OK


def files() -> Iterator[tuple[str, str]]:
    """Yield the path and the text of every file."""
    programs = dict(commands())
    pages = dict(with_subcommands())
    titles = [name.replace(" ", "-") for name in pages]
    for name, command in pages.items():
        text = page(command, name, version=__version__, see_also=titles)
        yield f"man/man1/{name.replace(' ', '-')}.1", text
    for name, command in programs.items():
        variable = f"_{name.replace('-', '_').upper()}_COMPLETE"
        for path, shell in _COMPLETIONS.items():
            # BashComplete.source() would start bash to ask for its version.
            yield path.format(name=name), ShellComplete.source(shell(command, {}, name, variable))


def commands() -> Iterator[tuple[str, click.Command]]:
    """Yield every program that is installed with lmtpd, and its command."""
    for entry in sorted(distribution(DISTRIBUTION).entry_points, key=lambda each: each.name):
        if entry.group == "console_scripts":
            module = importlib.import_module(entry.module)
            command = getattr(module, entry.name.replace("-", "_"))
            assert isinstance(command, click.Command)
            yield entry.name, command


def with_subcommands() -> Iterator[tuple[str, click.Command]]:
    """Yield every command by the name that is typed: programs, and what they are called with."""
    for name, command in commands():
        yield name, command
        if isinstance(command, click.Group):
            context = click.Context(command, info_name=name)
            for inner in command.list_commands(context):
                if found := command.get_command(context, inner):
                    yield f"{name} {inner}", found
