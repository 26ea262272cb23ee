"""The command line: one module for each command, loaded when it is called, so that help is quick.

The composition root: this package knows everyone, and nobody imports it.
"""

import importlib

import click

from lmtpd import __version__

COMMANDS = {
    "serve": "Run the server in the foreground.",
    "deliver": "Deliver one message from standard input.",
    "check": "Validate the configuration and show every effective value.",
    "explain": "Show how an address resolves.",
    "trace": "Show what happened to a message.",
    "doctor": "Find what is wrong around the server, and the line that mends it.",
    "status": "Show a running server's figures.",
    "top": "Show a running server's figures, live.",
    "web": "Show the history in a browser.",
    "init": "Write a configuration and systemd units for this host.",
    "manual": "Write manual pages and shell completion.",
}


class LazyGroup(click.Group):
    """A group whose commands are the modules of this package."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """List the commands in the order in which one meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import a command's module; None for an unknown command."""
        if cmd_name not in COMMANDS:
            return None
        command = getattr(importlib.import_module(f"{__name__}.{cmd_name}"), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def lmtpd() -> None:
    """Deliver mail from LMTP into Maildirs: one status per recipient, exactly one durable copy.

    \b
    Example:
      lmtpd serve --listen unix:/run/lmtpd.sock --mailboxes '/srv/mail/{domain}/{user}'
    """
