"""From a click command to `main(argv) -> exit code`."""

from collections.abc import Callable, Sequence

import click

from lmtpd.__main__ import run_command
from scripts.shell.failures import Failure

Main = Callable[[Sequence[str] | None], int]


class Script(click.Command):
    """A command whose `Failure` ends it with its code, and one line."""

    def invoke(self, ctx: click.Context) -> object:
        """Run it."""
        try:
            return super().invoke(ctx)
        except Failure as exc:
            click.echo(f"{ctx.info_name}: {exc}", err=True)
            return exc.code


def run_script(command: click.Command, name: str, argv: Sequence[str] | None) -> int:
    """Run a script; return its exit code. The last line of every script's `main`."""
    return run_command(command, name, argv)
