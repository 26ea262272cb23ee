"""`lmtpd check`: what the configuration amounts to, or everything that is wrong with it."""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict

import click

from lmtpd.cli.doctor.machine import mount_of, read_mounts
from lmtpd.cli.failures import ConfigFailure
from lmtpd.cli.options import Settings, as_json, takes_settings
from lmtpd.cli.probing import Down, probe
from lmtpd.cli.quota_folders import folder_mistakes
from lmtpd.config import Config, ConfigError, Need, Problem, effective, warnings, written
from lmtpd.config.places import KeyPath
from lmtpd.config.problems import Finding, shown
from lmtpd.config.site_checks import mistakes
from lmtpd.config.unmeant import roots, unmeant

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
        _show_problems(failure.problems)
        return failure.exit_code
    probed = list(probe(config))
    problems = [_placed(config, each) for each in (*mistakes(config), *folder_mistakes(config))]
    if problems := problems + [each for each in probed if isinstance(each, Problem)]:
        if not as_json:
            raise ConfigFailure(ConfigError(problems))
        _show_problems(problems)
        return os.EX_CONFIG
    remarks = [*_remarks(config), *(each.text for each in probed if isinstance(each, Down))]
    if as_json:
        click.echo(json.dumps(_as_json(config, remarks), indent=2))
    else:
        click.echo("\n".join(_as_toml(config)))
        for remark in remarks:
            click.echo(f"warning: {remark}", err=True)
    return os.EX_OK


def _placed(config: Config, found: Finding) -> Problem:
    place = f"{config.origins.place_of(found.path)}: {written(found.path)}"
    return Problem(place, shown(found.value), found.message)


def _show_problems(problems: Sequence[Problem]) -> None:
    click.echo(json.dumps({"valid": False, "problems": list(map(asdict, problems))}, indent=2))


def _remarks(config: Config) -> Iterator[str]:
    yield from warnings(config)
    for path, remark in (*unmeant(config), *_unshared(config)):
        yield f"{config.origins.place_of(path)}: {written(path)}: {remark}"
    if not config.listen and "listen" not in config.model_fields_set:
        yield (
            "there is no listener: `serve` will need --listen, or a socket from systemd"
            " (listen = [] says that this is meant)"
        )


def _unshared(config: Config) -> Iterator[tuple[KeyPath, str]]:
    """Say where blocks cannot be shared: each copy is then written in full, as with "off"."""
    if config.delivery.single_instance != "share":
        return
    mounts = read_mounts()
    for path, root in roots(config):
        mount = mount_of(root, mounts)
        if mount is not None and not mount.may_share:
            remark = (
                f'"share" is as "off" for {written(path)}: {root} is on {mount.kind}, which cannot share'
                ' blocks: take XFS or btrfs, or "link"'
            )
            yield ("delivery", "single_instance"), remark


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
            yield f"[[{table[0]}]]" if isinstance(table[-1], int) else f"[{written(table)}]"
        key, source = path[-1], config.sources[written(path)]
        if value is None:
            yield f"# {key} is not set"
        else:
            yield f"{f'{key} = {_toml(value)}':<{_SOURCE_COLUMN}} # {source}"


def _toml(value: object) -> str:
    if isinstance(value, dict):
        inside = ", ".join(f"{json.dumps(name)} = {_toml(each)}" for name, each in value.items())
        return "{ " + inside + " }" if inside else "{}"
    return json.dumps(value, ensure_ascii=False)
