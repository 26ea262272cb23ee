"""Find the line of every key in a TOML file, since tomllib does not tell.

The text is known to be valid TOML: the scanner only needs to know where statements begin, so it steps over
strings, comments and brackets as wholes.  A key inside an inline table has the line of the statement.
"""

import re
from collections.abc import Iterator

# A key path as used everywhere in this package: names, and indexes into lists.
KeyPath = tuple[str | int, ...]

_SPACE = r"(?:[ \t\r\n]|#[^\n]*)*"
_STRING = r""""(?:[^"\\\n]|\\.)*"|'[^'\n]*'"""
# Up to two quotes may stand directly in front of the closing three.
_LONG_STRING = r'''"""(?:[^\\]|\\.)*?"{3,5}|\'\'\'.*?'{3,5}'''
_KEY_PART = re.compile(rf"[ \t]*({_STRING}|[A-Za-z0-9_-]+)[ \t]*(\.?)", re.DOTALL)
_SKIPPED = re.compile(_SPACE)
_VALUE_TOKEN = re.compile(rf"{_LONG_STRING}|{_STRING}|#[^\n]*|[\[\]{{}}\n]|[^\[\]{{}}\n#\"']+", re.DOTALL)
_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))", re.DOTALL)
_ESCAPED = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r"}


def key_lines(text: str) -> dict[KeyPath, int]:
    """Map the path of each key and table in a valid TOML text to its line, counted from 1."""
    lines: dict[KeyPath, int] = {}
    lengths: dict[KeyPath, int] = {}  # of the arrays of tables so far
    table: KeyPath = ()
    for position, brackets, names in _statements(text):
        line = text.count("\n", 0, position) + 1
        if brackets == 0:
            path = table + names
        else:
            if brackets == 2:
                parent = _resolved(names[:-1], lengths) + names[-1:]
                lengths[parent] = lengths.get(parent, 0) + 1
                lines.setdefault(parent, line)
            path = table = _resolved(names, lengths)
        for end in range(len(path), 0, -1):
            lines.setdefault(path[:end], line)
    return lines


def _resolved(names: tuple[str, ...], lengths: dict[KeyPath, int]) -> KeyPath:
    """Insert the index of the latest element behind each name of an array of tables."""
    path: KeyPath = ()
    for name in names:
        path += (name,)
        if path in lengths:
            path += (lengths[path] - 1,)
    return path


def _statements(text: str) -> Iterator[tuple[int, int, tuple[str, ...]]]:
    """Yield (position, brackets around it, names) for each header and each key."""
    position = 0
    while (position := _end_of(_SKIPPED, text, position)) < len(text):
        start = position
        brackets = 2 if text.startswith("[[", start) else 1 if text.startswith("[", start) else 0
        names, position = _key(text, start + brackets)
        yield start, brackets, names
        position = _end_of_value(text, position + (brackets or 1))


def _end_of(pattern: re.Pattern[str], text: str, position: int) -> int:
    match = pattern.match(text, position)
    assert match is not None
    return match.end()


def _key(text: str, position: int) -> tuple[tuple[str, ...], int]:
    names: list[str] = []
    more = True
    while more:
        match = _KEY_PART.match(text, position)
        assert match is not None
        names.append(_unquoted(match[1]))
        more, position = match[2] == ".", match.end()
    return tuple(names), position


def _unquoted(word: str) -> str:
    if word[0] == "'":
        return word[1:-1]
    if word[0] != '"':
        return word

    def plain(match: re.Match[str]) -> str:
        code = match[1] or match[2]
        return chr(int(code, 16)) if code else _ESCAPED.get(match[3], match[3])

    return _ESCAPE.sub(plain, word[1:-1])


def _end_of_value(text: str, position: int) -> int:
    """Return the position behind the line end that closes the statement."""
    depth = 0
    while match := _VALUE_TOKEN.match(text, position):
        position = match.end()
        mark = match[0]
        if mark in ("[", "{"):
            depth += 1
        elif mark in ("]", "}"):
            depth -= 1
        elif mark == "\n" and depth == 0:
            break
    return position
