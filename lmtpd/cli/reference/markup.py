"""Markdown: a table, and what may stand in its cells."""

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table."""
    lines = [" | ".join(head), " | ".join("---" for _ in head)]
    lines += [" | ".join(cell.replace("|", "\\|") for cell in row) for row in rows]
    return "".join(f"| {line} |\n" for line in lines)


def code(text: str) -> str:
    """Write what is typed or printed as it stands."""
    return f"`{text}`" if text else ""


def anchored(identifier: str, shown: str) -> str:
    """Write what other pages can point at as #identifier."""
    return f'<a id="{identifier}"></a>{shown}'


def inline(text: str) -> str:
    """Keep what looks like an element of HTML from being one, outside code."""
    parts = text.split("`")
    parts[::2] = [each.replace("<", "&lt;") for each in parts[::2]]
    return "`".join(parts)
