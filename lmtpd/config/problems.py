"""What is wrong with a configuration: every problem at once, each with its place.

Also the translation of pydantic's findings, whose own words speak of Python, into ours.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from lmtpd.config.keys import LISTENERS, unknown_key, written
from lmtpd.config.places import KeyPath
from lmtpd.config.values import kind

_TAGGED = (*LISTENERS, "recipients")  # whose tables are of several kinds
TABLE_LISTS = (*_TAGGED, "events")
SHOWN_CHARACTERS = 80  # of a wrong value; the file has the rest


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem with one key, before its place is known."""

    path: KeyPath
    message: str
    value: object = None  # None: there is none to show
    judged_by: tuple[KeyPath, ...] = ()  # other keys that it depends on


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to mend: place is "FILE:LINE: KEY" or "FLAG: KEY", value is as written or ""."""

    place: str
    value: str
    message: str

    def __str__(self) -> str:
        return (
            f"{self.place} = {self.value}: {self.message}" if self.value else f"{self.place}: {self.message}"
        )


class ConfigError(Exception):
    """The configuration cannot be used; `problems` has everything that is wrong with it."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


def shown(value: object) -> str:
    """Show a value as TOML would write it, on one line and not too long."""
    if value is None:
        return ""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 3] + "..."


def findings(error: ValidationError) -> Iterator[Finding]:
    """Translate what pydantic found."""
    for detail in error.errors(include_url=False):
        path = _without_tag(detail["loc"])
        value = None if detail["type"] == "missing" else detail["input"]
        yield Finding(path, _message(path, detail), value)


def _without_tag(path: KeyPath) -> KeyPath:
    """Drop the name that pydantic inserts for the chosen kind of listener or source."""
    return path[:2] + path[3:] if path[0] in _TAGGED and len(path) > 2 else path


def _message(path: KeyPath, detail: ErrorDetails) -> str:
    match detail["type"]:
        case "value_error":
            return str(detail["ctx"]["error"])
        case "extra_forbidden":
            return unknown_key(path, str(detail["loc"][2]) if path[0] == "recipients" else None)
        case "missing":
            return "is missing" + ("; TLS needs both cert and key" if path[0] == "tls" else "")
        case "tuple_type" if len(path) == 1 and path[0] in TABLE_LISTS:
            return f"must be a list of tables: begin each with [[{path[0]}]]"
        case "mapping_type" | "dict_type":
            return f"must be a table, not {kind(detail['input'])}"
        case "tuple_type":
            return f"must be a list, not {kind(detail['input'])}"
        case "model_type":
            return f"must be a table, not {kind(detail['input'])}" + (
                f": write [{written(path)}] and its keys below" if len(path) == 1 else ""
            )
        case _:
            return detail["msg"]
