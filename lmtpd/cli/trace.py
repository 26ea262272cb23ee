"""`lmtpd trace`: what happened to a message, from the history."""

import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict

import click

from lmtpd.cli.failures import Failure
from lmtpd.cli.options import Settings, as_json, takes_settings
from lmtpd.cli.queries import Query, questions
from lmtpd.cli.whereabouts import whereabouts
from lmtpd.report.formats import escaped, timestamp
from storage.folders import Layout
from storage.history import History, HistoryError, HistoryRow

EX_NOTHING_FOUND = 1  # as grep
_LABEL_COLUMN = 12


@click.command()
@click.argument("query")
@takes_settings
@click.option("--limit", metavar="N", default=100, type=click.IntRange(1), help="At most so many.  [100]")
@as_json
def trace(settings: Settings, *, query: str, limit: int, as_json: bool) -> int:
    """Show what happened to a message, newest first: by queue id, Message-ID, address, file name or time.

    The id in a reply 250 will do as well.  A time is a span up to now (30m, 1h, 7d), a day, a minute, or two
    of them with .. between.  Exit code 1: nothing was found.

    \b
    Examples:
      lmtpd trace 4XyZ12abcDz
      lmtpd trace '<20261124100000.1@example.org>'
      lmtpd trace alice@example.org
      lmtpd trace 1764000000.M1P2Q3R4ab.mx
      lmtpd trace 2026-11-24T10:00..2026-11-24T11:00
    """
    config = settings.load()
    rows = _find(History(config.history_path), questions(query, now=time.time()), limit)
    found = [(row, whereabouts(row, Layout(config.mailboxes.layout))) for row in rows]
    if as_json:
        click.echo(json.dumps([{**asdict(row), "now": now} for row, now in found], indent=2))
    else:
        click.echo("\n\n".join("\n".join(_lines(row, now)) for row, now in found), nl=bool(found))
    if not found:
        click.echo(f"lmtpd: nothing is known of {escaped(query)}", err=True)
    return os.EX_OK if found else EX_NOTHING_FOUND


def _find(history: History, alternatives: list[Query], limit: int) -> list[HistoryRow]:
    """Ask one question after the other until one finds something."""
    try:
        for alternative in alternatives:
            if rows := history.find(**alternative, limit=limit):
                return rows
    except HistoryError as exc:
        raise Failure(f"the history cannot be read: {exc}", os.EX_NOINPUT) from exc
    return []


def _lines(row: HistoryRow, now: str) -> Iterator[str]:
    yield f"{timestamp(row.at)} {row.outcome} <{escaped(row.sender)}> -> <{escaped(row.recipient)}>"
    phases = ", ".join(f"{name} {duration_ms:g} ms" for name, duration_ms in row.phases.items())
    for label, value in (
        ("queue id", row.queue_id),
        ("message id", row.message_id),
        ("original to", row.original_recipient),
        ("mailbox", row.mailbox),
        ("folder", row.folder),
        ("file", row.file),
        ("now", now),
        ("octets", str(row.octets or "")),
        ("reply", row.reply),
        ("cause", row.cause),
        ("client", row.client),
        ("helo", row.helo),
        ("phases", phases),
        ("id", row.transaction_id),
    ):
        if value:
            yield f"    {label:<{_LABEL_COLUMN}} {escaped(value)}"
