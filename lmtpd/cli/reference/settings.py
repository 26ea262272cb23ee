"""Every key of the configuration file: what it may hold, what it holds unless set, what it means."""

import json
import types
import typing
from collections.abc import Iterator, Mapping, Sequence

from pydantic import BeforeValidator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from lmtpd.cli.reference.attributes import texts
from lmtpd.cli.reference.markup import anchored, code, inline, table
from lmtpd.config.quota import FolderQuota
from lmtpd.config.recipients import SOURCES
from lmtpd.config.schema import Config, TcpListener, UnixListener
from lmtpd.config.section import Section

_INTRODUCTION = """# Settings

The configuration is one TOML file. `--set SECTION.KEY=VALUE` on the command line precedes it. `lmtpd check`
shows every effective value and where it comes from.
"""
_SOCKETS = ("listen", "policy", "socketmap")
_LISTENERS: Mapping[str, type[Section]] = {"unix": UnixListener, "tcp": TcpListener}


class Setting(typing.NamedTuple):
    """A key, ready to be shown."""

    key: str  # as --set has it: server.workers
    name: str
    allowed: str
    default: str
    meaning: str


class Table(typing.NamedTuple):
    """A table of the file."""

    title: str
    about: str
    settings: Sequence[Setting]


def page() -> str:
    """Write the page."""
    parts = [_INTRODUCTION]
    for each in tables():
        rows = [
            (anchored(one.key, code(one.name)), inline(one.allowed), one.default, inline(one.meaning))
            for one in each.settings
        ]
        parts.append(f"## {each.title}\n" + (f"\n{inline(each.about)}\n" if each.about else ""))
        parts.append(table(("key", "allowed", "default", "meaning"), rows))
    return "\n".join(parts)


def tables() -> Iterator[Table]:
    """Yield every table of the file, the keys that stand above all tables first."""
    about = texts(Config)
    yield Table("Above all tables", "", list(_settings(Config, "", tables=False)))
    for name, field in Config.model_fields.items():
        sections = list(sections_in(field.annotation))
        if name in _SOCKETS:
            for kind, section in _LISTENERS.items():
                settings = list(_settings(section, f"{name}.{kind}"))
                yield Table(f"[[{name}]] with {kind}", about[name], settings)
        elif name == "recipients":
            for kind, section in SOURCES.items():
                settings = list(_settings(section, f"{name}.{kind}"))
                yield Table(f'[[recipients]] source = "{kind}"', _meaning(section, "source"), settings)
        elif name == "events":
            yield Table("[[events]]", about[name], list(_settings(sections[0], name)))
        elif name == "domains":
            yield Table('[domains."DOMAIN"]', about[name], list(_settings(sections[0], name)))
        elif name == "aliases":
            row = Setting(name, "ADDRESS", _allowed(field), "none", about[name])
            yield Table("[aliases]", about[name], [row])
        elif sections:
            yield Table(f"[{name}]", about[name], list(_settings(sections[0], name)))


def sections_in(annotation: object) -> Iterator[type[Section]]:
    """Find the tables that a key may hold."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from sections_in(argument)


def _settings(section: type[Section], place: str, *, tables: bool = True) -> Iterator[Setting]:
    for name, field in section.model_fields.items():
        is_table = any(sections_in(field.annotation)) or name == "aliases"
        if is_table and not tables:
            continue
        key = f"{place}.{name}" if place else name
        yield Setting(key, name, _allowed(field), _default(name, field), _meaning(section, name))


def _meaning(section: type[Section], name: str) -> str:
    """Return the text below a key, in the class that says what it is; "" if it has none."""
    return next((found for each in section.__mro__[:-2] if (found := _own(each, name))), "")


def _own(section: type, name: str) -> str:
    return texts(section).get(name, "") if issubclass(section, Section) and section is not Section else ""


def _allowed(field: FieldInfo) -> str:
    words = list(_words(field.annotation))
    if words:
        return ", ".join(code(f'"{word}"') for word in words)
    validator = next(_validators(field.annotation, field.metadata), None)
    said = "" if validator is None else _said_by(validator)
    is_list = typing.get_origin(field.annotation) is tuple and not field.metadata
    return f"a list; each: {said}" if is_list else said


def _words(annotation: object) -> Iterator[str]:
    """List the words of a choice; nothing where other values are allowed beside them."""
    if typing.get_origin(annotation) is typing.Literal:
        yield from map(str, typing.get_args(annotation))
    elif typing.get_origin(annotation) in (typing.Union, types.UnionType, typing.Annotated):
        others = [each for each in typing.get_args(annotation) if each is not type(None)]
        if len([each for each in others if not isinstance(each, BeforeValidator)]) == 1:
            yield from _words(others[0])


def _validators(annotation: object, metadata: Sequence[object]) -> Iterator[BeforeValidator]:
    yield from (each for each in metadata if isinstance(each, BeforeValidator))
    for argument in typing.get_args(annotation):
        if isinstance(argument, BeforeValidator):
            yield argument
        else:
            yield from _validators(argument, ())


def _said_by(validator: BeforeValidator) -> str:
    """Say what a parser accepts: in the words of its docstring, or else of its refusal."""
    if described := (validator.func.__doc__ or "").partition("\n")[0]:
        return described.removeprefix("Accept ").removesuffix(".")
    try:
        validator.func(object())  # type: ignore[call-arg] # of a single value, as all of ours are
    except ValueError as exc:
        return str(exc).removeprefix("must be ")
    raise AssertionError(f"{validator} accepts anything")


def _default(name: str, field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        if field.default_factory is dict:
            return "none"
        return "the machine's" if field.default_factory else "required"
    if field.default is None:
        return "unset"
    return code(_toml(name, field.default))


def _toml(name: str, value: object) -> str:
    if name == "mode" and isinstance(value, int):
        return f'"{value:04o}"'
    if isinstance(value, bool | int):
        return json.dumps(value)
    if isinstance(value, tuple):
        return json.dumps([str(each) for each in value])
    if isinstance(value, Mapping):
        return json.dumps(dict(value))
    assert isinstance(value, str | FolderQuota) or str(value), value
    return json.dumps(str(value))
