"""The pages' HTML, from facts; nothing here reads or waits."""

from collections.abc import Mapping, Sequence
from html import escape
from urllib.parse import quote

from lmtpd.report.formats import timestamp
from lmtpd.web.charts import shown

SPANS = {"24": "24 hours", "168": "7 days", "720": "30 days"}
DEFAULT_SPAN = "24"
_LABELS = {
    "queue_id": "queue id",
    "message_id": "Message-ID",
    "original_recipient": "original to",
    "mailbox": "mailbox",
    "folder": "folder",
    "file": "file",
    "now": "now",
    "octets": "octets",
    "reply": "reply",
    "cause": "cause",
    "client": "client",
    "helo": "helo",
    "transaction_id": "id",
}


def page(title: str, body: str, *, query: str = "") -> bytes:
    """Put a page together; body is HTML."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f'<title>{shown(title)} · lmtpd</title><link rel="icon" href="data:,">'
        '<link rel="stylesheet" href="/style.css"></head><body>'
        '<header><a class="name" href="/">lmtpd</a><form action="/trace" role="search">'
        '<input type="search" name="q" aria-label="Find a message" placeholder="Queue id, Message-ID,'
        f' address, file or time" value="{escape(query)}"><button>Trace</button></form>'
        f'<a class="data" href="/history">Data</a></header><main>{body}</main></body></html>'
    ).encode("utf-8", "backslashreplace")


def overview(hours: str, totals: Mapping[str, int], parts: Sequence[tuple[str, str, str, str]]) -> bytes:
    """Show the charts; parts are (name of the canned query, title, remark, chart)."""
    spans = "".join(
        f'<a href="/?hours={key}"{" aria-current=page" if key == hours else ""}>{text}</a>'
        for key, text in SPANS.items()
    )
    figures = "".join(
        f'<div class="figure"><b>{count:,}</b><span>{shown(word)}</span></div>'
        for word, count in totals.items()
    )
    sections = "".join(
        f'<section id="{name}"><h2>{shown(title)}'
        f'<a href="/history/{name}?hours={hours}&amp;step=1">table</a></h2>'
        f"<p>{shown(remark)}</p>{chart}</section>"
        for name, title, remark, chart in parts
    )
    return page(
        "Overview",
        f'<nav class="spans" aria-label="Span">{spans}</nav><div class="figures">{figures}</div>'
        f'<div class="sections">{sections}</div>',
    )


def found(query: str, rows: Sequence[Mapping[str, object]]) -> bytes:
    """Show what `lmtpd trace --json` prints."""
    if not rows:
        return page(
            "Trace",
            f"<h1>Nothing is known of {shown(query)}</h1><p>Search for a queue id, a Message-ID, a sender or"
            " recipient, the name of a file, or a time such as 30m, 7d or 2026-11-24. The history keeps what"
            " ledger.history_days says.</p>",
            query=query,
        )
    count = f"{len(rows)} recipient{'s' if len(rows) > 1 else ''}"
    return page("Trace", f"<h1>{count}, newest first</h1>" + "".join(map(_card, rows)), query=query)


def message(title: str, text: str, *, query: str = "") -> bytes:
    """Show a page that only says something."""
    spans = "".join(f'<a href="/?hours={key}">{text}</a>' for key, text in SPANS.items())
    return page(
        title,
        f'<nav class="spans" aria-label="Span">{spans}</nav><h1>{shown(title)}</h1><p>{shown(text)}</p>',
        query=query,
    )


def _card(row: Mapping[str, object]) -> str:
    outcome = str(row["outcome"])
    at = row["at"]
    assert isinstance(at, float | int)
    facts = "".join(
        f'<dt>{label}</dt><dd data-fact="{key}">{_fact(key, str(row[key]))}</dd>'
        for key, label in _LABELS.items()
        if row.get(key)
    )
    phases = row.get("phases")
    if isinstance(phases, Mapping) and phases:
        times = "".join(f"<li>{shown(str(name))} <b>{ms:.4g} ms</b></li>" for name, ms in phases.items())
        facts += f'<dt>phases</dt><dd><ul class="phases">{times}</ul></dd>'
    attempts = f"attempt {row['attempt']} of {row['attempts']}" if row.get("attempts", 1) != 1 else ""
    return (
        f'<article data-id="{row["id"]}"><h2><span class="outcome {shown(outcome)}">{shown(outcome)}</span>'
        f" {_search(str(row['sender']) or '<>')} → {_search(str(row['recipient']))}</h2>"
        f'<p class="when">{shown(timestamp(float(at)))} {attempts}</p><dl>{facts}</dl></article>'
    )


def _fact(key: str, text: str) -> str:
    return _search(text) if key in ("queue_id", "message_id", "original_recipient") else shown(text)


def _search(text: str) -> str:
    """Make a text one that searches for itself."""
    return f'<a href="/trace?q={quote(text, safe="", errors="replace")}">{shown(text)}</a>'
