"""A row of the history, and how it becomes what SQLite stores."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import Any, TypedDict


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryRow:
    """What became of one recipient of one message; a text that is not known is empty."""

    at: float  # seconds since 1970
    outcome: str  # "delivered", "recognised", "deferred", "refused" or "dropped"
    transaction_id: str = ""
    queue_id: str = ""
    message_id: str = ""
    sender: str = ""
    recipient: str = ""  # as issued
    original_recipient: str = ""
    mailbox: str = ""  # the path
    folder: str = ""
    file: str = ""  # the final name, without flags
    octets: int = 0
    reply: str = ""
    cause: str = ""
    client: str = ""
    helo: str = ""
    phases: Mapping[str, float] = field(default_factory=dict)  # milliseconds
    # Of a row that was read: rows that were written later have higher ones.
    id: int = field(default=0, compare=False)


class Question(TypedDict, total=False):
    """What may be known of rows; empty texts and None do not count."""

    transaction_id: str
    queue_id: str
    message_id: str
    address: str  # a sender, recipient or original recipient, in any case
    file: str  # a name, with or without directory, sizes and flags
    since: float | None  # seconds since 1970
    until: float | None  # not included
    behind: int | None  # the id of a row: what was written later


COLUMNS = tuple(it.name for it in fields(HistoryRow) if it.name != "id")
_values_of = attrgetter(*COLUMNS)


def values_of(row: HistoryRow) -> list[object]:
    """Return what is stored, in the order of COLUMNS."""
    values = [_stored(value) if isinstance(value, str) else value for value in _values_of(row)]
    values[-1] = json.dumps(dict(row.phases)) if row.phases else None
    return values


def row_of(values: Sequence[Any]) -> HistoryRow:  # Any: a value has its column's type
    """Make a row of what was stored: its id, and COLUMNS."""
    number, *others = values
    columns: dict[str, Any] = {
        name: "" if value is None else value for name, value in zip(COLUMNS, others, strict=True)
    }
    columns["phases"] = json.loads(columns["phases"] or "{}")
    return HistoryRow(id=number, **columns)


def _stored(text: str) -> str | None:
    """Return NULL for what is not known, and make storable what came from a peer's undecodable bytes."""
    if text.isascii():
        return text or None
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
