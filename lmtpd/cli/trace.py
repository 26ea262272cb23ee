"""`lmtpd trace`: what happened to a message, from the history."""

import json
import math
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict

import click

from lmtpd.cli.failures import Failure
from lmtpd.cli.messages import attempts_of, find_behind, find_message
from lmtpd.cli.options import Settings, as_json, takes_settings
from lmtpd.cli.queries import Query, questions
from lmtpd.cli.whereabouts import whereabouts
from lmtpd.config import Config
from lmtpd.report.formats import escaped, timestamp
from storage.folders import Layout
from storage.history import History, HistoryError, HistoryRow

EX_NOTHING_FOUND = 1  # as grep
NOT_SOUGHT = "not looked for: the time was up"
POLL_S = 0.5
_LABEL_COLUMN = 12


@click.command()
@click.argument("query", required=False)
@takes_settings
@click.option("--limit", metavar="N", default=100, type=click.IntRange(1), help="At most so many.  [100]")
@click.option("--follow", is_flag=True, help="Go on with what comes; without QUERY everything.")
@as_json
def trace(settings: Settings, *, query: str | None, limit: int, follow: bool, as_json: bool) -> int:
    """Show what happened to a message, newest first: by queue id, Message-ID, address, file name or time.

    The id in a reply 250 will do as well.  A time is a span up to now (30m, 1h, 7d), a day, a minute, or two
    of them with .. between.  Exit code 1: nothing was found.

    With --follow the oldest comes first, and JSON is one object a line.

    \b
    Examples:
      lmtpd trace 4XyZ12abcDz
      lmtpd trace '<20261124100000.1@example.org>'
      lmtpd trace alice@example.org
      lmtpd trace 1764000000.M1P2Q3R4ab.mx
      lmtpd trace 2026-11-24T10:00..2026-11-24T11:00
      lmtpd trace --follow bob@example.net
    """
    if query is None and not follow:
        raise click.UsageError("Missing argument 'QUERY'.")
    config = settings.load()
    alternatives = questions(query, now=time.time()) if query is not None else [Query()]
    history, layout = History(config.history_path), Layout(config.mailboxes.layout)
    try:
        if as_json and query is not None and not follow:
            objects = facts(config, query, limit)
            click.echo(json.dumps(objects, indent=2))
            return _ending(query, bool(objects))
        if follow:
            return _follow(history, alternatives, layout=layout, limit=limit if query else 0, as_json=as_json)
        rows = find_message(history, alternatives, limit)
    except HistoryError as exc:
        raise Failure(f"the history cannot be read: {exc}", os.EX_NOINPUT) from exc
    found = [(row, whereabouts(row, layout)) for row in rows]
    attempts = attempts_of(rows)
    click.echo("\n\n".join("\n".join(_lines(row, now, attempts)) for row, now in found), nl=bool(found))
    return _ending(query or "", bool(found))


def _ending(query: str, found: bool) -> int:  # noqa: FBT001 - one meaning only
    if not found:
        click.echo(f"lmtpd: nothing is known of {escaped(query)}", err=True)
    return os.EX_OK if found else EX_NOTHING_FOUND


def facts(config: Config, query: str, limit: int, *, give_up_at: float = math.inf) -> list[dict[str, object]]:
    """Return what --json prints.  Raises Failure for a time that is none, and HistoryError.

    Behind give_up_at, of time.monotonic(), it is HistorySlow, and files are not looked for any more.
    """
    history = History(config.history_path, give_up_at=give_up_at)
    rows = find_message(history, questions(query, now=time.time()), limit)
    layout, attempts = Layout(config.mailboxes.layout), attempts_of(rows)
    return [
        _object(row, whereabouts(row, layout) if time.monotonic() < give_up_at else NOT_SOUGHT, attempts)
        for row in rows
    ]


def _follow(history: History, alternatives: list[Query], *, layout: Layout, limit: int, as_json: bool) -> int:
    """Print what there is, then what comes, until Ctrl-C."""
    seen = history.newest_id()
    rows = find_message(history, alternatives, limit) if limit else []
    try:
        while True:
            for row in sorted(rows, key=lambda row: row.id):
                now = whereabouts(row, layout)
                text = (
                    json.dumps(_object(row, now, {})) if as_json else "\n".join([*_lines(row, now, {}), ""])
                )
                click.echo(text)
            time.sleep(POLL_S)
            # Known before it is asked: what comes in between is asked for the next time.
            newest = history.newest_id()
            rows = [row for row in find_behind(history, alternatives, seen) if row.id <= newest]
            seen = max(newest, 0)
    except KeyboardInterrupt:
        return os.EX_OK


def _object(row: HistoryRow, now: str, attempts: Mapping[int, tuple[int, int]]) -> dict[str, object]:
    attempt, of = attempts.get(row.id, (1, 1))
    return {**asdict(row), "now": now, "attempt": attempt, "attempts": of}


def _lines(row: HistoryRow, now: str, attempts: Mapping[int, tuple[int, int]]) -> Iterator[str]:
    attempt, of = attempts.get(row.id, (1, 1))
    yield f"{timestamp(row.at)} {row.outcome} <{escaped(row.sender)}> -> <{escaped(row.recipient)}>"
    phases = ", ".join(f"{name} {duration_ms:g} ms" for name, duration_ms in row.phases.items())
    for label, value in (
        ("attempt", f"{attempt} of {of}" if of > 1 else ""),
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
