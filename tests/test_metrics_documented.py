"""The tables of metrics and of the history in README are those in the code.

To write the one of the metrics anew: python -m tests.test_metrics_documented
"""

import re
from collections.abc import Iterator

from lmtpd.report.metrics import METRICS
from storage.history_rows import COLUMNS
from tests.support.requirements import ROOT

README = ROOT / "README.md"
PLACE = re.compile(r"(?<=<!-- metrics -->\n).*?(?=<!-- /metrics -->)", re.DOTALL)


def table() -> str:
    return "".join(f"{line}\n" for line in lines())


def lines() -> Iterator[str]:
    yield "| metric | kind | labels | meaning |"
    yield "|---|---|---|---|"
    for metric in METRICS:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        yield f"| `{metric.exported}` | {metric.kind} | {labels} | {metric.help} |"


def test_readme_lists_every_column_of_the_history():
    chapter = README.read_text().partition("## Where is my mail?")[2].partition("\n## ")[0]
    table = chapter.partition("| column | meaning |")[2].partition("\n\n")[0]
    columns = [name for line in table.splitlines() for name in re.findall(r"`(\w+)`", line.split(" | ")[0])]

    assert columns == ["id", "at", *sorted(COLUMNS[1:], key=columns.index)]


def test_readme_lists_every_metric_as_it_is():
    found = PLACE.search(README.read_text())

    assert found
    assert found[0] == table()


if __name__ == "__main__":
    README.write_text(PLACE.sub(lambda _: table(), README.read_text()))
