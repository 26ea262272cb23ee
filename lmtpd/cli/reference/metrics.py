"""Every metric."""

from lmtpd.cli.reference.markup import anchored, code, inline, table
from lmtpd.report.metrics import METRICS

_INTRODUCTION = """# Metrics

How to read them, and what dashboards and alerts there are, says [its chapter](../metrics.md). `reply` is
the class of the reply, `cause` the word that the log has in that field, `outcome` the log's first word.
"""


def page() -> str:
    """Write the page."""
    rows = [
        (
            anchored(each.exported, code(each.exported)),
            each.kind,
            ", ".join(map(code, each.labels)),
            inline(each.help),
        )
        for each in METRICS
    ]
    return f"{_INTRODUCTION}\n{table(('metric', 'kind', 'labels', 'meaning'), rows)}"
