"""What a query of `lmtpd trace` may mean: one word, read as the questions it can be, likeliest first."""

import re
from datetime import datetime, timedelta

from lmtpd.cli.failures import Failure
from storage.history import Question as Query
from storage.names import parse

EX_USAGE = 64

_SPAN = re.compile(r"(\d{1,6})(s|m|h|d|w)", re.ASCII)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d(?::\d\d(?::\d\d)?)?)?", re.ASCII)
# How long a moment lasts that is given to the day, the hour, the minute, the second.
_LASTS = {10: timedelta(days=1), 13: timedelta(hours=1), 16: timedelta(minutes=1), 19: timedelta(seconds=1)}
_FORMATS = {10: "%Y-%m-%d", 13: "%Y-%m-%dT%H", 16: "%Y-%m-%dT%H:%M", 19: "%Y-%m-%dT%H:%M:%S"}


__all__ = ["Query", "questions"]


def questions(text: str, *, now: float) -> list[Query]:
    """Read a query.  Times are local.  Raises Failure for a time that is none."""
    text = text.strip()
    if (span := _time_span(text, now)) is not None:
        return [span]
    if text.startswith("<") and text.endswith(">"):
        # <alice@example.org> is also how the log writes an address.
        return [{"message_id": text}, {"address": text[1:-1]}]
    if "/" in text or parse(text) is not None:
        return [{"file": text}]
    if "@" in text:
        return [{"address": text}, {"message_id": f"<{text}>"}]
    # A name in a Maildir that somebody else's delivery agent gave it has dots as well.
    return [{"queue_id": text}, {"transaction_id": text}, {"file": text}, {"address": text}]


def _time_span(text: str, now: float) -> Query | None:
    if match := _SPAN.fullmatch(text):
        return {"since": now - timedelta(**{_UNITS[match[2]]: int(match[1])}).total_seconds()}
    first, dots, last = text.partition("..")
    if not _MOMENT.fullmatch(first) or (last and not _MOMENT.fullmatch(last)):
        return None
    since, until = _moment(first)
    if not dots:
        return {"since": since, "until": until}
    # Up to the beginning of a time, but through the end of a day: 2026-11-23..2026-11-24 are two days.
    return {"since": since, "until": _moment(last)[len(last) == 10]} if last else {"since": since}


def _moment(text: str) -> tuple[float, float]:
    """Return when a moment begins and ends."""
    try:
        begin = datetime.strptime(text.replace(" ", "T"), _FORMATS[len(text)]).astimezone()
        return begin.timestamp(), (begin + _LASTS[len(text)]).timestamp()
    except (ValueError, OverflowError) as exc:
        raise Failure(f"{text} is no time: write 2026-11-24 or 2026-11-24T10:00", EX_USAGE) from exc
