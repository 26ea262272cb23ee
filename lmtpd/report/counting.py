"""From reports and events to counters.  Called behind the replies, by one thread at a time."""

from datetime import UTC
from email.utils import parsedate_to_datetime

from lmtpd.report.metrics import BY_NAME
from lmtpd.report.records import Level, RecipientReport
from lmtpd.report.tally import Key, Sheet

DISTINCT_CAUSES = 200  # causes are a fixed vocabulary; a mistake there must not become a leak

_ABORTED_AT = {
    ("dropped", "client_gone"): "receive",
    ("dropped", "too_slow"): "receive",
    ("deferred", "client_gone"): "barrier",
    ("deferred", "cancelled"): "barrier",
    ("deferred", "too_late"): "barrier",
}
_PHASE = BY_NAME["phase_seconds"]
_AGE = BY_NAME["queue_age_seconds"]
_SIZE = BY_NAME["message_octets"]
_CLOCKS_DIFFER_S = 60.0  # a message that is younger than this much less than nothing has a wrong date


class Counts:
    """What one process counts."""

    def __init__(self) -> None:
        self._sheet = Sheet()
        self._outcomes: dict[tuple[str, str, str], Key] = {}

    def move_to(self, sheet: Sheet) -> None:
        """Count on a sheet of the tally from now on, what was counted so far included."""
        for key, value in self._sheet.read().items():
            sheet.add(key, value)
        self._sheet = sheet

    def add(self, name: str, *labels: str, amount: float = 1.0) -> None:
        """Count something that has no report."""
        self._sheet.add((name, *labels), amount)

    def event(self, name: str, level: Level) -> None:
        """Count an event."""
        self._sheet.add(("events", name, level.name.lower()))

    def report(self, report: RecipientReport) -> None:
        """Count an outcome, and with a message's last one what all its recipients share."""
        sheet = self._sheet
        outcome = report.outcome
        reply = f"{report.reply[:1]}xx" if report.reply else ""
        key = self._outcomes.get((outcome, reply, report.cause)) or self._new_outcome(report, reply)
        sheet.add(key)
        sheet.set(("delivery_last_timestamp_seconds", outcome, key[-1]), report.at)
        if report.is_last:
            self._message(report)

    def outcomes(self) -> dict[tuple[str, str], int]:
        """Recipients so far by (outcome, cause)."""
        result: dict[tuple[str, str], int] = {}
        for (name, *labels), value in self._sheet.read().items():
            if name == "deliveries":
                outcome, _, cause = labels
                result[outcome, cause] = result.get((outcome, cause), 0) + int(value)
        return result

    def _new_outcome(self, report: RecipientReport, reply: str) -> Key:
        cause = report.cause
        if len(self._outcomes) >= DISTINCT_CAUSES or len(cause.encode(errors="replace")) > 20:
            return ("deliveries", report.outcome, reply, "other")
        key = ("deliveries", report.outcome, reply, cause)
        self._outcomes[report.outcome, reply, cause] = key
        return key

    def _message(self, report: RecipientReport) -> None:
        sheet = self._sheet
        for phase, duration_ms in report.phases_ms.items():
            sheet.add((_PHASE.name, phase, _PHASE.bucket(duration_ms / 1000)))
            sheet.add((_PHASE.name, phase, "sum"), duration_ms / 1000)
        if report.octets is not None:
            sheet.add(("messages",))
            sheet.add((_SIZE.name, _SIZE.bucket(report.octets)))
            sheet.add((_SIZE.name, "sum"), report.octets)
        if (phase := _ABORTED_AT.get((report.outcome, report.cause), "")) != "":
            sheet.add(("aborts", phase))
        if report.received and (age_s := _age_s(report.received, report.at)) is not None:
            sheet.add((_AGE.name, _AGE.bucket(age_s)))
            sheet.add((_AGE.name, "sum"), age_s)


def _age_s(date: str, now: float) -> float | None:
    """Return how old a message with that date in its Received field is; None if it cannot be read."""
    try:
        sent = parsedate_to_datetime(date)
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
    # "-0000" is UTC, too: RFC 5322 3.3.
    age_s = now - (sent if sent.tzinfo is not None else sent.replace(tzinfo=UTC)).timestamp()
    return max(0.0, age_s) if age_s > -_CLOCKS_DIFFER_S else None
