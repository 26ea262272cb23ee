"""The table of a run: what everybody did, our ratios to them, and what was promised."""

from collections.abc import Iterable

from rich.console import Console
from rich.table import Table

from tests.bench.results import DOVECOT, FLOOR, OURS, SYSTEMS, VIRTUAL, Line

WIDTH = 170
TITLES = {OURS: "lmtpd", FLOOR: "floor", VIRTUAL: "virtual(8)", DOVECOT: "Dovecot"}


def print_table(console: Console, facts: dict[str, str], lines: Iterable[Line]) -> None:
    """Write the machine's facts and the table."""
    for name, fact in facts.items():
        console.print(f"{name + ':':15}{fact}", highlight=False, markup=False)
    table = Table(
        title="Medians; ratios are medians over pairs taken one after the other", title_justify="left"
    )
    table.add_column("")
    table.add_column("what")
    table.add_column("unit")
    for system in SYSTEMS:
        table.add_column(TITLES[system], justify="right")
    table.add_column("lmtpd / Dovecot", justify="right")
    table.add_column("lmtpd / floor", justify="right")
    table.add_column("promised")
    row = ""
    for line in lines:
        if line.row != row:
            table.add_section()
        table.add_row(f"({line.row})" if line.row != row else "", *cells(line))
        row = line.row
    console.print(table)


def cells(line: Line) -> list[str]:
    """Return the texts of a line from its second column on."""
    medians = [number(line.median(system)) for system in SYSTEMS]
    ratios = [number(line.ratio(OURS, other)) for other in (DOVECOT, FLOOR)]
    return [line.what, line.unit, *medians, *ratios, promises(line)]


def promises(line: Line) -> str:
    """Return every target with its fate."""
    fates = {True: "met", False: "MISSED", None: "not measured"}
    return "\n".join(f"{target}: {fates[line.meets(target)]}" for target in line.targets)


def number(value: float | None) -> str:
    """Write a number with three digits or so."""
    if value is None:
        return ""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
