"""`lmtpd status`: a running server's figures, once."""

import json
from collections.abc import Iterable, Iterator

import click

from lmtpd.cli.health import Complaint, Health, complaints
from lmtpd.cli.options import Settings, as_json, takes_settings
from lmtpd.cli.readings import NotRunning, Reading, quantile, read
from lmtpd.report.metrics import PHASES

_LABEL_COLUMN = 14
OUTCOMES = ("delivered", "recognised", "deferred", "refused", "dropped")


@click.command()
@takes_settings
@as_json
def status(settings: Settings, *, as_json: bool) -> int:
    """Show what a running server has done since its start, and whether something is wrong.

    Exit codes as monitoring knows them: 0 all is well, 1 warning, 2 critical, also if no server answers.

    \b
    Examples:
      lmtpd status --config /etc/lmtpd/lmtpd.toml
      lmtpd status --state /var/lib/lmtpd --json
    """
    try:
        reading = read(settings.load())
    except NotRunning as exc:
        complaint = Complaint(Health.CRITICAL, exc.message)
        _show(as_json, _verdict([complaint]), _complaint_lines([complaint]))
        return Health.CRITICAL
    found = list(complaints(reading))
    _show(as_json, {**_verdict(found), **_facts(reading)}, [*_complaint_lines(found), "", *_lines(reading)])
    return max((complaint.health for complaint in found), default=Health.OK)


def _show(as_json: bool, facts: dict[str, object], lines: Iterable[str]) -> None:  # noqa: FBT001 - an option
    click.echo(json.dumps(facts, indent=2) if as_json else "\n".join(lines))


def _verdict(found: list[Complaint]) -> dict[str, object]:
    health = max((complaint.health for complaint in found), default=Health.OK)
    return {"health": health.name.lower(), "complaints": [each.text for each in found]}


def _complaint_lines(found: list[Complaint]) -> Iterator[str]:
    for complaint in found:
        yield f"{complaint.health.name:<9} {complaint.text}"
    if not found:
        yield "OK        nothing is wrong"


def _facts(reading: Reading) -> dict[str, object]:
    causes = reading.by("deliveries_total", "cause")
    return {
        "up_s": round(reading.at - reading.total("start_timestamp_seconds"), 1),
        "workers": int(reading.total("workers")),
        "workers_wanted": int(reading.total("workers_wanted")),
        "connections": int(reading.total("connections")),
        "connections_limit": int(reading.total("connections_limit")),
        "messages": int(reading.total("messages_total")),
        "octets": int(reading.total("message_octets_sum")),
        "deliveries": {each: int(reading.total("deliveries_total", outcome=each)) for each in OUTCOMES},
        "causes": {cause: int(count) for cause, count in sorted(causes.items()) if cause},
        "aborts": {phase: int(count) for phase, count in reading.by("aborts_total", "phase").items()},
        "phases_s": {phase: _quantiles(reading, phase) for phase in PHASES},
        "ledger": {"octets": reading.of("ledger_octets"), "records": reading.of("ledger_records")},
        "history": {"octets": reading.of("history_octets"), "rows": reading.of("history_rows")},
        "events": {name: _of_receiver(reading, name) for name in reading.by("events_queued", "receiver")},
        "free_octets": reading.by("free_octets", "place"),
    }


def _of_receiver(reading: Reading, name: str) -> dict[str, int]:
    counts = {
        fact: int(reading.total(f"events_{metric}", receiver=name))
        for fact, metric in (
            ("queued", "queued"),
            ("sent", "sent_total"),
            ("failed", "failed_total"),
            ("dropped", "dropped_total"),
        )
    }
    since = reading.total("events_oldest_timestamp_seconds", receiver=name)
    return {**counts, "oldest_s": int(max(0.0, reading.at - since)) if since else 0}


def _quantiles(reading: Reading, phase: str) -> dict[str, float]:
    return {
        name: round(quantile(reading, "phase_seconds", part, phase=phase), 6)
        for name, part in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
    }


def _lines(reading: Reading) -> Iterator[str]:
    for label, text in _rows(reading):
        yield f"{label:<{_LABEL_COLUMN}} {text}"


def _rows(reading: Reading) -> Iterator[tuple[str, str]]:
    total = reading.total
    yield "up", duration(reading.at - total("start_timestamp_seconds"))
    yield "workers", f"{total('workers'):.0f} of {total('workers_wanted'):.0f}"
    yield "connections", f"{total('connections'):.0f} of {total('connections_limit'):.0f}"
    yield "messages", f"{total('messages_total'):,.0f}, {octets(total('message_octets_sum'))}"
    for outcome in OUTCOMES:
        causes = reading.by("deliveries_total", "cause", outcome=outcome)
        why = ", ".join(f"{cause} {count:,.0f}" for cause, count in sorted(causes.items()) if cause)
        yield outcome, f"{sum(causes.values()):,.0f}{f'  ({why})' if why else ''}"
    for phase in PHASES:
        low, _, high = _quantiles(reading, phase).values()
        yield phase, f"half within {low * 1000:.3g} ms, 99 % within {high * 1000:.3g} ms"
    yield "ledger", f"{total('ledger_records'):,.0f} records, {octets(total('ledger_octets'))}"
    yield "history", f"{total('history_rows'):,.0f} rows, {octets(total('history_octets'))}"
    for name in sorted(reading.by("events_queued", "receiver")):
        facts = _of_receiver(reading, name)
        age = f", the oldest for {duration(facts['oldest_s'])}" if facts["queued"] else ""
        counts = f"{facts['sent']:,} sent, {facts['failed']:,} attempts failed, {facts['dropped']:,} dropped"
        yield f"events {name}", f"{facts['queued']:,} wait{age}; {counts}"
    for place, free in sorted(reading.by("free_octets", "place").items()):
        yield f"free {place}"[:_LABEL_COLUMN], octets(free)


def duration(seconds: float) -> str:
    """Write a span for people: 3 d 4 h, 5 min 6 s."""
    whole = int(seconds)
    days, hours, minutes = whole // 86_400, whole // 3600 % 24, whole // 60 % 60
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {whole % 60} s"


def octets(count: float) -> str:
    """Write an amount of octets for people."""
    for unit in ("octets", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
