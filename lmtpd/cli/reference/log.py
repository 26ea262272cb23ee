"""Every line of the log: the fields of a recipient's, and the names of all others."""

from lmtpd.cli.reference.markup import anchored, code, inline, table
from lmtpd.report.records import Level
from lmtpd.report.vocabulary import EVENTS, FIELDS, OUTCOMES

_INTRODUCTION = """# The log

One line for each recipient of each message: its outcome as the first word, then `key=value`, or a JSON
object with `log.format = "json"`. A field without a value is left out.

The log and the history are written behind the replies. A log that nobody reads, or a history that cannot
be written, delays no delivery: the oldest lines are dropped, and the log says how many.

## Outcomes
"""
_OTHERS = """## Other lines

They begin with one of these words, and have fields of their own, `level` in JSON: {levels}.
"""


def page() -> str:
    """Write the page."""
    outcomes = [(anchored(word, code(word)), meaning) for word, meaning in OUTCOMES.items()]
    fields = [
        (anchored(f"field-{each.name}", code(each.name)), code(each.example), each.meaning) for each in FIELDS
    ]
    events = [(anchored(f"event-{name}", code(name)), inline(meaning)) for name, meaning in EVENTS.items()]
    levels = ", ".join(level.name.lower() for level in Level)
    return "\n".join(
        [
            _INTRODUCTION,
            table(("first word", "meaning"), outcomes),
            "## Fields\n",
            table(("field", "example", "meaning"), fields),
            _OTHERS.format(levels=levels),
            table(("first word", "meaning"), events),
        ]
    )
