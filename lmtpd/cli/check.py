"""`lmtpd check`: what the configuration amounts to, or everything that is wrong with it."""

import json
import os
from collections.abc import Iterator
from dataclasses import asdict

import click

from lmtpd.cli.failures import ConfigFailure
from lmtpd.cli.options import Settings, as_json, takes_settings
from lmtpd.config import Config, Need, effective, warnings, written

_SOURCE_COLUMN = 48


@click.command()
@takes_settings
@as_json
def check(settings: Settings, *, as_json: bool) -> int:
    """Validate the configuration and show every effective value, and where it comes from.

    The output is itself a valid configuration file.  All problems are listed at once, and the exit code is
    then 78.

    \b
    Examples:
      lmtpd check --config /etc/lmtpd/lmtpd.toml
      lmtpd check --config /etc/lmtpd/lmtpd.toml --set delivery.commit=cancel --json
    """
    try:
        config = settings.load(Need.MAILBOXES, Need.PRIVILEGES)
    except ConfigFailure as failure:
        if not as_json:
            raise
        problems = [asdict(problem) for problem in failure.problems]
        click.echo(json.dumps({"valid": False, "problems": problems}, indent=2))
        return failure.exit_code
    remarks = list(_remarks(config))
    if as_json:
        click.echo(json.dumps(_as_json(config, remarks), indent=2))
    else:
        click.echo("\n".join(_as_toml(config)))
        for remark in remarks:
            click.echo(f"warning: {remark}", err=True)
    return os.EX_OK


def _remarks(config: Config) -> Iterator[str]:
    yield from warnings(config)
    if not config.listen:
        yield "there is no listener: `serve` will need --listen, or a socket from systemd"


def _as_json(config: Config, remarks: list[str]) -> dict[str, object]:
    values = {
        written(path): {"value": value, "source": config.sources[written(path)]}
        for path, value in effective(config)
    }
    return {"valid": True, "values": values, "warnings": remarks}


def _as_toml(config: Config) -> Iterator[str]:
    table: tuple[str | int, ...] = ()
    # In TOML the keys of the top level cannot stand behind a table.
    for path, value in sorted(effective(config), key=lambda pair: len(pair[0]) > 1):
        if path[:-1] != table:
            table = path[:-1]
            yield ""
            yield f"[[{table[0]}]]" if isinstance(table[-1], int) else f"[{table[0]}]"
        key, source = path[-1], config.sources[written(path)]
        if value is None:
            yield f"# {key} is not set"
        else:
            yield f"{f'{key} = {json.dumps(value, ensure_ascii=False)}':<{_SOURCE_COLUMN}} # {source}"
