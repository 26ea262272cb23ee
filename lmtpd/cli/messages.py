"""From what one knows of a message to all that became of it: every recipient asked for, every attempt."""

from collections.abc import Mapping, Sequence

from lmtpd.cli.queries import Query
from storage.history import History, HistoryRow

ATTEMPTS = 1000  # of one message that are looked for
FOLLOWED = 10_000  # rows that may come between two looks
# What an attempt that was given up in its middle does not know: only its queue id leads to it.
_OF_WHOLE_MESSAGES = ("message_id", "file", "transaction_id")


def find_message(history: History, alternatives: Sequence[Query], limit: int) -> list[HistoryRow]:
    """Ask one question after the other until one finds something.  Raises HistoryError."""
    for alternative in alternatives:
        if rows := history.find(**alternative, limit=limit):
            if any(key in alternative for key in _OF_WHOLE_MESSAGES):
                return _with_other_attempts(history, rows)[:limit]
            return rows
    return []


def find_behind(history: History, alternatives: Sequence[Query], seen: int) -> list[HistoryRow]:
    """Return what was written behind the row with that id and answers any of the questions."""
    found: dict[int, HistoryRow] = {}
    for alternative in alternatives:
        asked: Query = {**alternative, "behind": seen}
        found.update((row.id, row) for row in history.find(**asked, limit=FOLLOWED))
    return list(found.values())


def attempts_of(rows: Sequence[HistoryRow]) -> Mapping[int, tuple[int, int]]:
    """Number the attempts of each message for each recipient: from a row's id to which it is, of how many."""
    groups: dict[tuple[str, str], list[HistoryRow]] = {}
    for row in sorted(rows, key=lambda row: (row.at, row.id)):
        if row.queue_id:
            groups.setdefault((row.queue_id, row.recipient), []).append(row)
    return {
        row.id: (number, len(group)) for group in groups.values() for number, row in enumerate(group, start=1)
    }


def _with_other_attempts(history: History, rows: Sequence[HistoryRow]) -> list[HistoryRow]:
    recipients = {(row.queue_id, row.recipient) for row in rows}
    found = {row.id: row for row in rows}
    for queue_id in {queue_id for queue_id, _ in recipients if queue_id}:
        for row in history.find(queue_id=queue_id, limit=ATTEMPTS):
            if (queue_id, row.recipient) in recipients:
                found[row.id] = row
    return sorted(found.values(), key=lambda row: (row.at, row.id), reverse=True)
