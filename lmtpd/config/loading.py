"""Read the file, put the flags on top, parse, check: a `Config`, or every problem at once."""

from collections.abc import Sequence, Set
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lmtpd.config.checks import Need, check
from lmtpd.config.effective import effective
from lmtpd.config.keys import written
from lmtpd.config.layers import Layers, Override
from lmtpd.config.origins import Origins
from lmtpd.config.places import KeyPath
from lmtpd.config.problems import TABLE_LISTS, ConfigError, Finding, findings, shown
from lmtpd.config.schema import Config


def load(
    file: Path | None,
    overrides: Sequence[Override] = (),
    *,
    needs: Set[Need] = frozenset({Need.MAILBOXES}),
) -> Config:
    """Make the configuration of file and flags.  Raises ConfigError with all that is wrong.

    needs: what the calling command cannot do without.
    """
    layers = Layers(file)
    unreadable = layers.read(file) if file is not None else None
    found = layers.override(overrides)
    # What an unreadable file would have said is not missing.
    config, more = _parse(layers.tables, needs if unreadable is None else frozenset())
    placed = sorted(
        (layers.problem(finding, shown(finding.value)) for finding in found + more), key=lambda pair: pair[0]
    )
    problems = [unreadable] if unreadable else []
    problems += [problem for _, problem in placed]
    if problems or config is None:
        raise ConfigError(problems)
    sources = {written(path): layers.source(path) for path, _ in effective(config)}
    origins = Origins(layers.tables, lambda path: layers.origin(path).text)
    config.remember_origin(file, sources, origins)
    return config


def _parse(tables: dict[str, Any], needs: Set[Need]) -> tuple[Config | None, list[Finding]]:
    """Parse and check; what is wrong is set aside, so that the rest is still looked at."""
    try:
        config = Config.model_validate(tables)
    except ValidationError as exc:
        found = list(findings(exc))
    else:
        return config, list(check(config, needs))
    faulty = {finding.path for finding in found}
    try:
        rest = Config.model_validate(_without(tables, faulty))
    except ValidationError:
        return None, found
    # A key that is wrong is not missing as well, nor can it be judged together with others.
    return None, found + [each for each in check(rest, needs) if not _depends_on(each, faulty)]


def _without(tables: dict[str, Any], faulty: Set[KeyPath]) -> dict[str, Any]:
    """Copy the tables without what is wrong: one key of a section, or a whole list or section."""
    result = {name: dict(value) if isinstance(value, dict) else value for name, value in tables.items()}
    for section, *rest in faulty:
        table = result.get(str(section))
        if section in TABLE_LISTS or not rest or not isinstance(table, dict) or rest[0] not in table:
            result.pop(str(section), None)
        else:
            del table[rest[0]]
    return result


def _depends_on(finding: Finding, faulty: Set[KeyPath]) -> bool:
    judged = (finding.path, *finding.judged_by)
    return any(one[: len(other)] == other[: len(one)] for one in judged for other in faulty)
