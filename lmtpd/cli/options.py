"""The options that commands share: where the configuration is and what overrides it."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from lmtpd.cli.failures import ConfigFailure
from lmtpd.config import Config, ConfigError, Need, Override, load

Function = Callable[..., int]


@dataclass(frozen=True, slots=True)
class Settings:
    """The configuration as the command line gives it, not yet read."""

    file: Path | None
    overrides: tuple[Override, ...]

    def load(self, *needs: Need) -> Config:
        """Read it.  Raises ConfigFailure."""
        try:
            return self.reload(*needs)
        except ConfigError as exc:
            raise ConfigFailure(exc) from exc

    def reload(self, *needs: Need) -> Config:
        """Read it (again).  Raises ConfigError."""
        return load(self.file, self.overrides, needs=frozenset(needs))


def takes_settings(function: Function) -> Function:
    """Give a command --config, --mailboxes, --state and --set; it is called with its `Settings` first."""

    @functools.wraps(function)
    def command(
        *,
        config: str | None,
        mailboxes: str | None,
        state: str | None,
        settings: Sequence[str],
        listen: Sequence[str] = (),
        create: bool = False,
        workers: str | None = None,
        **others: object,
    ) -> int:
        flags = [Override("--listen", address) for address in listen]
        if create:
            flags.append(Override("--create", "true"))
        for flag, text in (("--mailboxes", mailboxes), ("--state", state), ("--workers", workers)):
            if text is not None:
                flags.append(Override(flag, text))
        flags += [Override("--set", text) for text in settings]
        return function(Settings(Path(config) if config else None, tuple(flags)), **others)

    for option in reversed(_OPTIONS):
        command = option(command)
    return command


# Texts all of them: what they may hold is the configuration's to say, in one list with everything else.
_OPTIONS = (
    click.option(
        "--config",
        metavar="FILE",
        envvar="LMTPD_CONFIG",
        show_envvar=True,
        help="The TOML file; with flags alone none is needed.",
    ),
    click.option(
        "--mailboxes",
        metavar="TEMPLATE",
        help="Where the Maildirs are, with {user}, {domain} and {detail} in the path.",
    ),
    click.option("--state", metavar="DIR", help="Where ledger and history are kept.  [/var/lib/lmtpd]"),
    click.option(
        "--set",
        "settings",
        metavar="SECTION.KEY=VALUE",
        multiple=True,
        help="Set any key of the file; overrides all else.  Repeatable.",
    ),
)

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
