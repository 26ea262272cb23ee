"""Defaults, file, flags: which of them an effective value comes from.

The file is the lowest layer; the flags that have names of their own replace its values, and `--set` replaces
both.  Values are put in place unchecked: what is allowed is the schema's business, so that a wrong value on
the command line is reported in the same list as one in the file.
"""

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmtpd.config.keys import is_literal, written
from lmtpd.config.places import KeyPath, key_lines
from lmtpd.config.problems import Finding, Problem

_FLAGS: dict[str, tuple[str, ...]] = {
    "--listen": ("listen",),
    "--mailboxes": ("mailboxes", "path"),
    "--create": ("mailboxes", "create"),
    "--state": ("state",),
    "--workers": ("server", "workers"),
}
_AT_LINE = re.compile(r" ?\(at (?:line (\d+), column (\d+)|end of document)\)$")
_KEY_PART = re.compile(r'(?:^|\.)\s*(?:"([^"]*)"\s*|([^.]*))')
_BEHIND_THE_FILE = 2**31


@dataclass(frozen=True, slots=True)
class Override:
    """One flag as given: `Override("--set", "limits.recipients=10")`, `Override("--workers", "4")`."""

    flag: str
    text: str


@dataclass(frozen=True, slots=True, order=True)
class Origin:
    """Where a value comes from; sorts as one reads: through the file, then the flags."""

    line: int
    text: str


class Layers:
    """The merged tables, and the origin of each key in them."""

    def __init__(self, file: Path | None) -> None:
        self.tables: dict[str, Any] = {}  # Any: what tomllib returns
        self._origins: dict[KeyPath, Origin] = {}
        self._whole = Origin(0, str(file) if file else "configuration")

    def origin(self, path: KeyPath) -> Origin:
        """Tell where a key, or else the innermost table that it is in, comes from."""
        for end in range(len(path), 0, -1):
            if path[:end] in self._origins:
                return self._origins[path[:end]]
            # A table that no layer wrote as such comes from the first key that needed it.
            if inner := [origin for each, origin in self._origins.items() if each[:end] == path[:end]]:
                return min(inner)
        return self._whole

    def source(self, path: KeyPath) -> str:
        """Tell where an effective value comes from; "default" when no layer has the key."""
        here: Any = self.tables
        for part in path:
            try:
                here = here[part]
            except (KeyError, IndexError, TypeError):
                return "default"
        return self.origin(path).text

    def problem(self, finding: Finding, shown: str) -> tuple[Origin, Problem]:
        """Give a finding its place."""
        origin = self.origin(finding.path)
        return origin, Problem(f"{origin.text}: {written(finding.path)}", shown, finding.message)

    def read(self, file: Path) -> Problem | None:
        """Put the file in as the lowest layer; the problem if it cannot be read or is no TOML."""
        text = ""
        try:
            text = file.read_bytes().decode()
            self.tables = tomllib.loads(text)
        except OSError as exc:
            return Problem(str(file), "", f"cannot be read: {exc.strerror}")
        except UnicodeDecodeError as exc:
            line = exc.object.count(b"\n", 0, exc.start) + 1
            return Problem(f"{file}:{line}", "", "is not UTF-8 text")
        except tomllib.TOMLDecodeError as exc:
            return _syntax_problem(file, str(exc), last_line=text.count("\n") + 1)
        except RecursionError:
            return Problem(str(file), "", "is nested too deeply")
        for path, line in key_lines(text).items():
            self._origins[path] = Origin(line, f"{file}:{line}")
        return None

    def override(self, overrides: Sequence[Override]) -> list[Finding]:
        """Put the flags on top, `--set` last; findings for those that have no place to go to."""
        result = [self._put_flag(each) for each in overrides if each.flag != "--set"]
        result += [self._put_set(each) for each in overrides if each.flag == "--set"]
        return [finding for finding in result if finding is not None]

    def _put_flag(self, override: Override) -> Finding | None:
        path = _FLAGS[override.flag]
        if override.flag != "--listen":
            return self._put(path, override.text, flag=override.flag)
        kind, colon, rest = override.text.partition(":")
        if kind not in ("unix", "tcp") or not colon:
            self._origins[path] = Origin(_BEHIND_THE_FILE, override.flag)
            return Finding(path, "must be unix:PATH or tcp:HOST:PORT", override.text)
        # The first one replaces the listeners of the file, the others add to it.
        earlier = self.tables.get("listen") if self.source(path) == override.flag else None
        self._replace(path, [*(earlier or []), {kind: rest}], flag=override.flag)
        return None

    def _put_set(self, override: Override) -> Finding | None:
        key, equals, text = override.text.partition("=")
        path = tuple(quoted or bare.strip() for quoted, bare in _KEY_PART.findall(key))
        if not equals or not all(path):
            self._origins[override.text,] = Origin(_BEHIND_THE_FILE, "--set")
            return Finding((override.text,), "must be SECTION.KEY=VALUE, such as limits.recipients=500")
        return self._put(path, text, flag="--set")

    def _put(self, path: tuple[str, ...], text: str, *, flag: str) -> Finding | None:
        value = _value_of(path, text)
        if not self._replace(path, value, flag=flag):
            self._origins[path] = Origin(_BEHIND_THE_FILE, flag)
            return Finding(path, f"{written(path[:-1])} is not a table", value)
        return None

    def _replace(self, path: tuple[str, ...], value: object, *, flag: str) -> bool:
        table = self.tables
        for name in path[:-1]:
            table = table.setdefault(name, {})
            if not isinstance(table, dict):
                return False
        table[path[-1]] = value
        hidden = [each for each in self._origins if each[: len(path)] == path]
        for each in hidden:
            del self._origins[each]
        self._origins[path] = Origin(_BEHIND_THE_FILE, flag)
        return True


def _value_of(path: KeyPath, text: str) -> object:
    """Read a value as TOML, else take it as the string it is: no shell quotes around names and paths."""
    try:
        document = tomllib.loads(f"value = {text}")
    except (tomllib.TOMLDecodeError, RecursionError):
        return text
    value = document.pop("value")
    if document:
        return text  # a line break in it began a second key
    # A name may look like a number or a date: hostname=1, quota.default=0.
    return value if isinstance(value, str | list | dict) or is_literal(path) else text


def _syntax_problem(file: Path, message: str, *, last_line: int) -> Problem:
    """Move the position that tomllib puts at the end of its message to the front."""
    match = _AT_LINE.search(message)
    line = (match and match[1]) or last_line
    column = f" (column {match[2]})" if match and match[2] else ""
    message = message[: match.start()] if match else message
    return Problem(f"{file}:{line}", "", f"is not valid TOML: {message[:1].lower()}{message[1:]}{column}")
