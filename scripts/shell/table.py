"""Plain tables and sizes for people."""

from collections.abc import Sequence

_UNITS = ("octets", "KB", "MB", "GB", "TB", "PB")


def columns(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Line up columns: the first to the left, bars and empty heads too, the others to the right."""
    widths = [max(len(row[index]) for row in (head, *rows)) for index in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if index == 0 or not head[index] else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (head, *rows)
    )


def octets_text(octets: float) -> str:
    """Write a size: 950 octets, 1.2 MB; a kilobyte is 1,000 octets, as in a quota."""
    for unit in _UNITS:
        if octets < 999.5 or unit == _UNITS[-1]:
            break
        octets /= 1000
    return f"{octets:.0f} {unit}" if unit == "octets" or octets >= 99.95 else f"{octets:.1f} {unit}"
