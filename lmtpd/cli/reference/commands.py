"""Every command with its options: the text of --help, as the manual pages have it."""

import re
from collections.abc import Iterator

import click

from lmtpd.cli.manual import with_subcommands
from lmtpd.cli.reference.markup import anchored, code, inline, table
from lmtpd.cli.roff import paragraphs

_INTRODUCTION = """# Commands

`lmtpd manual DIRECTORY` writes the same as manual pages. Exit codes are those of sysexits.h: 0 done, 64
wrong usage, 66 no such Maildir, 67 no such user, 73 cannot be made, 75 not now, 77 not permitted, 78 wrong
configuration.
"""


def page() -> str:
    """Write the page."""
    return "\n".join(
        [_INTRODUCTION, *(part for name, each in with_subcommands() for part in _command(name, each))]
    )


def _command(name: str, command: click.Command) -> Iterator[str]:
    context = click.Context(command, info_name=name)
    identifier = name.replace(" ", "-")
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    yield f"## {name} {{: #{identifier} }}\n\n```text\n{usage}\n```\n"
    for paragraph in paragraphs(command.help or ""):
        yield _paragraph(paragraph)
    options = [each for each in command.get_params(context) if isinstance(each, click.Option)]
    rows = [
        (anchored(f"{identifier}{each.opts[-1]}", code(record[0])), inline(re.sub(r"\s+", " ", record[1])))
        for each in options
        if (record := each.get_help_record(context))
    ]
    yield table(("option", "does"), rows)


def _paragraph(paragraph: str) -> str:
    if not paragraph.startswith("\b"):
        return inline(re.sub(r"\s*\n\s*", " ", paragraph)) + "\n"
    lines = paragraph.removeprefix("\b").strip("\n").split("\n")
    if not lines[0].endswith(":"):
        return "```text\n" + "\n".join(lines) + "\n```\n"
    examples = "\n".join(line.strip() for line in lines[1:])
    return f"{lines[0]}\n\n```text\n{examples}\n```\n"
