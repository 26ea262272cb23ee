"""How a command fails: one line, or one for each problem, and an exit code of sysexits.h."""

import os
from typing import IO, Any

import click

from lmtpd.config import ConfigError


class Failure(click.ClickException):
    """A command cannot do what it was asked to."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.exit_code = code  # type: ignore[misc]  # click declares a class variable and sets it so itself

    def show(self, file: IO[Any] | None = None) -> None:  # Any: click's signature
        """Print one line."""
        click.echo(f"lmtpd: {self.message}", file=file, err=True)


class ConfigFailure(Failure):
    """The configuration cannot be used."""

    def __init__(self, error: ConfigError, code: int = os.EX_CONFIG) -> None:
        count = len(error.problems)
        super().__init__(f"{count} problem{'s' if count > 1 else ''} in the configuration", code)
        self.problems = error.problems

    def show(self, file: IO[Any] | None = None) -> None:  # Any: click's signature
        """Print all problems, each with its place first, as compilers do."""
        for problem in self.problems:
            click.echo(str(problem), file=file, err=True)
        super().show(file)
