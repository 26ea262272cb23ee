"""From a click command to its manual page: the same text as --help, in the language of man(7)."""

import re
from collections.abc import Iterator, Sequence
from inspect import cleandoc

import click

_SECTIONS = {"Example:": "EXAMPLES", "Examples:": "EXAMPLES"}


def page(command: click.Command, name: str, *, version: str, see_also: Sequence[str]) -> str:
    """Write the page of one command; name: as it is typed, "lmtpd serve"."""
    title = name.replace(" ", "-")
    context = click.Context(command, info_name=name)
    texts = list(paragraphs(command.help or ""))
    brief = re.split(r"[.:;,] |\n", texts[0])[0].removesuffix(".") if texts else name
    lines = [
        f'.TH "{title.upper()}" "1" "" "lmtpd {_text(version)}" "lmtpd"',
        ".SH NAME",
        f"{_text(title)} \\- {_text(brief[:1].lower() + brief[1:])}",
        ".SH SYNOPSIS",
        f".B {_text(name)}",
        _text(" ".join(command.collect_usage_pieces(context))),
        ".SH DESCRIPTION",
    ]
    for paragraph in texts:
        lines += _paragraph(paragraph)
    lines += _options(command, context)
    others = [f".BR {_text(each)} (1)" for each in see_also if each != title]
    lines += [".SH SEE ALSO", *[f"{each}," for each in others[:-1]], *others[-1:]]
    return "\n".join(lines) + "\n"


def paragraphs(text: str) -> Iterator[str]:
    """Yield a help text's paragraphs; one that keeps its lines begins with \\b, as click has it."""
    for paragraph in cleandoc(text).split("\n\n"):
        if stripped := paragraph.strip("\n "):
            yield stripped


def _paragraph(paragraph: str) -> Iterator[str]:
    if not paragraph.startswith("\b"):
        yield ".PP"
        yield _text(re.sub(r"\s*\n\s*", " ", paragraph))
        return
    first, *rest = paragraph.removeprefix("\b").strip("\n").split("\n")
    yield f".SH {_SECTIONS[first]}" if first in _SECTIONS else ".PP"
    yield ".nf"
    yield from (_text(line.strip()) for line in (rest if first in _SECTIONS else [first, *rest]))
    yield ".fi"


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    options = [each for each in command.get_params(context) if isinstance(each, click.Option)]
    records = [record for each in options if (record := each.get_help_record(context))]
    if records:
        yield ".SH OPTIONS"
    for option, explained in records:
        yield ".TP"
        yield f".B {_text(option)}"
        yield _text(re.sub(r"\s+", " ", explained))
    if isinstance(command, click.Group):
        yield ".SH COMMANDS"
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            yield ".TP"
            yield f".BR {_text(f'{context.info_name}-{name}')} (1)"
            yield _text(inner.get_short_help_str(limit=200) if inner else "")


def _text(text: str) -> str:
    """Make text safe for roff: what begins a request, hyphens that are typed, backslashes."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq")
    return re.sub(r"^\.", r"\\&.", text, flags=re.MULTILINE)
