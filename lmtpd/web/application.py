"""The web application: an overview, the search, and Datasette for everything below /history."""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from urllib.parse import parse_qs

from datasette import handle_exception
from datasette.app import Datasette
from datasette.database import QueryInterrupted

from lmtpd.web import charts, pages
from lmtpd.web.database import HistoryDatabase
from lmtpd.web.guard import Application, Receive, Scope, Send, answer, guarded
from lmtpd.web.questions import CANNED, CAUSES, DELAYS, DELIVERIES, MAILBOXES, PHASES, SAMPLED, SLOTS

Trace = Callable[[str], Sequence[Mapping[str, object]]]  # raises ValueError for what is no question

QUESTION_MS = 2000  # for each chart, and each question to Datasette
STYLE = (Path(__file__).parent / "style.css").read_bytes()
TOO_MUCH = "The history has too many rows in this span to be read within two seconds. Choose a shorter one."
_SETTINGS = {
    "sql_time_limit_ms": QUESTION_MS,
    "facet_time_limit_ms": 200,
    "num_sql_threads": 2,
    "max_returned_rows": 1000,
    "default_page_size": 50,
    "suggest_facets": False,
    "allow_download": False,
    "allow_facet": True,
    "default_cache_ttl": 0,
}

_DATASETTE = ("/history", "/-/static/")

Row = Sequence[object]


class Page:
    """Answers requests about one history."""

    def __init__(self, path: Path, trace: Trace) -> None:
        self._path = path
        self._trace = trace
        queries = {name: {"title": title, "sql": sql} for name, (title, sql) in CANNED.items()}
        self._datasette = Datasette(
            [],
            settings=_SETTINGS,
            metadata={"title": "lmtpd", "databases": {"history": {"queries": queries}}},
        )
        self._database = HistoryDatabase(self._datasette, path)
        self._datasette.add_database(self._database, name="history")
        # With rich, which we bring, Datasette would print all local variables for each wrong address.
        handle_exception.rich = None
        self._data: Application = self._datasette.app()

    def application(self, hosts: Collection[str] | None) -> Application:
        """Return what a server runs; hosts are the values of Host that are answered, None: any."""
        return guarded(self._route, hosts)

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._data(scope, receive, send)
        elif scope["path"] == "/style.css":
            await answer(send, STYLE, kind=b"text/css; charset=utf-8")
        elif not self._path.exists():
            await answer(send, _nothing_yet(self._path))
        elif scope["path"] in ("/", "/trace"):
            pairs = parse_qs(scope["query_string"].decode("latin-1"), errors="replace")
            given = {name: values[-1] for name, values in pairs.items()}
            handler = self._overview if scope["path"] == "/" else self._found
            await answer(send, await handler(given))
        elif scope["path"].startswith(_DATASETTE):
            await self._data(scope, receive, send)
        else:
            await answer(send, pages.message("Not found", "There is no such page."), status=404)

    async def _found(self, given: Mapping[str, str]) -> bytes:
        query = given.get("q", "").strip()
        if not query:
            return pages.message("Trace", "Type what you know of the message into the box above.")
        try:
            rows = await asyncio.to_thread(self._trace, query)
        except ValueError as exc:
            return pages.message("That cannot be searched for", str(exc), query=query)
        return pages.found(query, rows)

    async def _overview(self, given: Mapping[str, str]) -> bytes:
        hours = given.get("hours", "")
        if hours not in pages.SPANS:
            hours = pages.DEFAULT_SPAN
        labels = _labels(float(hours))
        slots: list[dict[str, int]] = [{} for _ in labels]
        totals: dict[str, int] = {}
        counted = await self._ask(DELIVERIES, hours)
        for slot, outcome, count in counted or ():
            number = int(str(count))
            slots[max(0, int(str(slot)))][str(outcome)] = number
            totals[str(outcome)] = totals.get(str(outcome), 0) + number
        if counted is None:
            return pages.message("Too much to add up quickly", TOO_MUCH)
        if not counted:
            totals = {"messages in this span": 0}
        step = max(1, sum(totals.values()) // SAMPLED)
        sample = f"; one recipient in {step}" if step > 1 else ""
        totals = {word: totals[word] for word in (*charts.OUTCOMES, *totals) if word in totals}
        texts = {
            "deliveries": "Recipients by what became of them",
            "delays": f"From the first octet to the reply, all phases together{sample}",
            "causes": "Why recipients were refused, deferred or dropped",
            "phases": f"Mean time, and the longest{sample}",
            "mailboxes": "By octets delivered in this span",
        }
        drawn = {
            "deliveries": _drawn(counted, lambda _: charts.stacked(slots, labels)),
            "delays": _drawn(await self._ask(DELAYS, hours, step), lambda rows: _delays(rows, labels)),
            "causes": _drawn(await self._ask(CAUSES, hours), _causes),
            "phases": _drawn(await self._ask(PHASES, hours, step), _phases),
            "mailboxes": _drawn(await self._ask(MAILBOXES, hours), _mailboxes),
        }
        parts = [(name, CANNED[name][0], texts[name], drawn[name]) for name in drawn]
        return pages.overview(hours, totals, parts)

    async def _ask(self, sql: str, hours: str, step: int = 1) -> list[Row] | None:
        """Return the rows; None: there is too much to read in time."""
        try:
            result = await self._database.execute(
                sql, {"hours": hours, "step": step}, custom_time_limit=QUESTION_MS, log_sql_errors=False
            )
        except QueryInterrupted:
            return None
        return [tuple(row) for row in result.rows]


def _drawn(rows: list[Row] | None, draw: Callable[[list[Row]], str]) -> str:
    if rows is None:
        return f"<p>{TOO_MUCH}</p>"
    return draw(rows) if rows else "<p>Nothing in this span.</p>"


def _delays(rows: list[Row], labels: Sequence[str]) -> str:
    return charts.columns(
        {max(0, int(str(slot))): (float(str(mean)), float(str(top))) for slot, mean, top in rows}, labels
    )


def _causes(rows: list[Row]) -> str:
    return charts.bars([(str(name), float(str(n)), f"{n:,}") for name, n in rows], kind="refused")


def _phases(rows: list[Row]) -> str:
    shown = [
        (str(name), float(str(mean)), f"{float(str(mean)):.2f} · {float(str(top)):.1f} ms")
        for name, mean, top in rows
    ]
    return charts.bars(shown, kind="mean")


def _mailboxes(rows: list[Row]) -> str:
    # Paths begin alike: their ends tell them apart, and the table behind the chart has them whole.
    shown = [
        ("/".join(str(name).rsplit("/", 2)[-2:]), float(str(size)), f"{_size(float(str(size)))} · {n:,}")
        for name, n, size in rows
    ]
    return charts.bars(shown, kind="mean")


def _size(octets: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if octets < 1000:
            return f"{octets:.3g} {unit}"
        octets /= 1000
    return f"{octets:,.1f} TB"


def _labels(hours: float) -> list[str]:
    """Name the slots by the local time at which each begins."""
    now, step = time.time(), hours * 3600 / SLOTS
    form = "%a %H:%M" if hours <= 24 * 7 else "%d %b"
    return [time.strftime(form, time.localtime(now - (SLOTS - place) * step)) for place in range(SLOTS)]


def _nothing_yet(path: Path) -> bytes:
    return pages.message(
        "No history yet",
        f"There is no {path}. It is made with the first delivery: start the server (lmtpd serve) with the"
        " same --state or --config as this page, send a message, and load this page again.",
    )
