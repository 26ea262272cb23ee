"""A picture of the rates for README: a group of bars for each line, the longest of each equally long."""

from collections.abc import Iterable, Iterator
from html import escape
from pathlib import Path

from tests.bench.results import DOVECOT, FLOOR, OURS, SYSTEMS, Line
from tests.bench.table import number

COLOURS = {FLOOR: "#b8bec6", "virtual(8)": "#8fa3b8", DOVECOT: "#d8a657", OURS: "#2f7d4f"}
WIDTH, MARGIN, NAME_WIDTH, BAR_WIDTH = 820, 20, 90, 500
BAR, GAP, TITLE, BETWEEN = 16, 4, 24, 14
TOP = 62
FONT = 'font-family="system-ui, sans-serif"'


def chart(facts: dict[str, str], lines: Iterable[Line]) -> str:
    """Return an SVG of all lines in which something is counted per second and lmtpd or Dovecot took part."""
    shown = [
        line
        for line in lines
        if line.unit.endswith("/s") and not line.samples.keys().isdisjoint((OURS, DOVECOT))
    ]
    body: list[str] = []
    y = TOP
    for line in shown:
        group = list(_group(line, y))
        body += group
        y += TITLE + len(line.samples.keys() & set(SYSTEMS)) * (BAR + GAP) + BETWEEN
    return "\n".join([*_frame(facts, y), *body, "</svg>", ""])


def write_chart(path: Path, facts: dict[str, str], lines: Iterable[Line]) -> None:
    """Write the SVG to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(chart(facts, lines))


def _frame(facts: dict[str, str], height: int) -> Iterator[str]:
    size = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    yield f'<svg xmlns="http://www.w3.org/2000/svg" {size}>'
    # A ground of its own: the page that shows it may be dark.
    yield f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>'
    yield _text(MARGIN, 28, "Deliveries per second, everything synced to disk", size=17, weight="bold")
    where = ", ".join(facts[key] for key in ("processors", "file system", "kernel") if key in facts)
    yield _text(MARGIN, 46, where[:120], size=11, colour="#667788")


def _group(line: Line, top: int) -> Iterator[str]:
    medians = {system: line.median(system) for system in SYSTEMS}
    values = {system: value for system, value in medians.items() if value}
    longest = max(values.values())
    yield _text(MARGIN, top + 15, f"({line.row}) {line.what}", size=13, weight="bold")
    y = top + TITLE
    for system, value in values.items():
        length = max(1.0, BAR_WIDTH * value / longest)
        yield _text(MARGIN + NAME_WIDTH - 8, y + 12, system, size=12, anchor="end")
        x = MARGIN + NAME_WIDTH
        yield f'<rect x="{x}" y="{y}" width="{length:.1f}" height="{BAR}" rx="2" fill="{COLOURS[system]}"/>'
        yield _text(x + length + 6, y + 12, _label(line, system, value), size=12)
        y += BAR + GAP


def _label(line: Line, system: str, value: float) -> str:
    ratio = line.ratio(system, DOVECOT) if system != DOVECOT else None
    return number(value) + (f"   ({number(ratio)} x Dovecot)" if ratio else "")


def _text(
    x: float,
    y: float,
    text: str,
    *,
    size: int,
    weight: str = "normal",
    anchor: str = "start",
    colour: str = "#1c2733",
) -> str:
    style = f'font-size="{size}" font-weight="{weight}" text-anchor="{anchor}" fill="{colour}"'
    return f'<text x="{x:.1f}" y="{y}" {FONT} {style}>{escape(text)}</text>'
