"""The keys that exist: how they are written, which are allowed where, which one was probably meant."""

import difflib
import re
import types
import typing
from collections.abc import Iterator
from functools import cache

from pydantic import BaseModel

from lmtpd.config.places import KeyPath
from lmtpd.config.recipients import SOURCES
from lmtpd.config.schema import Config

LISTENERS = ("listen", "policy", "socketmap")  # lists of sockets


def written(path: KeyPath) -> str:
    """Write a key as messages and `--set` do: limits.recipients, listen[0].mode."""
    result = ""
    for part in path:
        if isinstance(part, int):
            result += f"[{part}]"
        else:
            # Names that the administrator gives, such as those of domains, may have dots in them.
            name = part if not result or _BARE.fullmatch(part) else f'"{part}"'
            result += f".{name}" if result else name
    return result


_BARE = re.compile(r"[A-Za-z0-9_-]+")


def allowed_in(table: KeyPath) -> list[str]:
    """List the keys that may stand in a table; none for what is no table."""
    names = _names_only(table)
    return [key[-1] for key in _keys() if key[:-1] == names]


def is_literal(path: KeyPath) -> bool:
    """Tell whether a key's value is a number or a boolean, so that 10 on a command line is no text."""
    return _leaves(_keys().get(_names_only(path))) in ({int}, {bool})


def _leaves(annotation: object) -> set[object]:
    """Return the types that a key may have: those of a union, None and what annotates them apart."""
    if typing.get_origin(annotation) is typing.Annotated:
        return _leaves(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return set().union(*map(_leaves, typing.get_args(annotation))) - {type(None)}
    return {annotation}


def unknown_key(path: KeyPath, kind: str | None = None) -> str:
    """Say what is wrong with a key that is not in the schema, and what was probably meant.

    kind: that of the recipient source.
    """
    *table, name = _names_only(path)
    siblings = allowed_in(tuple(table))
    if kind is not None:
        siblings = list(SOURCES[kind].model_fields)
    if table and table[0] in LISTENERS and name in siblings:
        return "belongs to unix sockets only"
    elsewhere = [key for key in _keys() if key[-1] == name and len(key) == 2]
    if near := difflib.get_close_matches(name, siblings, n=1):
        hint = f'did you mean "{written((*table, near[0]))}"?'
    elif elsewhere:
        hint = f'did you mean "{written(elsewhere[0])}"?'
    else:
        near = difflib.get_close_matches(name, [key[-1] for key in _keys()], n=1)
        meant = next((key for key in _keys() if near and key[-1] == near[0]), None)
        hint = f'did you mean "{written(meant)}"?' if meant else "and nothing like it is known."
    where = f"in [{written(tuple(table))}]" if table else "at the top level"
    message = f"unknown key, {hint}"
    return f"{message} Allowed {where}: {', '.join(siblings)}" if siblings else message


def _names_only(path: KeyPath) -> tuple[str, ...]:
    names = tuple(part for part in path if isinstance(part, str))
    # The tables in [domains] have names that the administrator gives.
    return names[:1] + names[2:] if names[:1] == ("domains",) and len(names) > 1 else names


@cache
def _keys() -> dict[tuple[str, ...], object]:
    """Map every key of the file to its annotation."""
    result: dict[tuple[str, ...], object] = {}
    for name, field in Config.model_fields.items():
        result[name,] = field.annotation
        for section in _sections_in(field.annotation):
            result.update({(name, key): each.annotation for key, each in section.model_fields.items()})
    return result


def _sections_in(annotation: object) -> Iterator[type[BaseModel]]:
    """Find the tables that a key may hold, also in lists and unions."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from _sections_in(argument)
