"""Queries and filters as the administrator writes them, and what may be filled in. Values only.

What is filled in is bound (SQL) or escaped (LDAP) by whoever asks, never put into a text here.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

PARAMETERS = ("address", "user", "domain", "detail")
# What a source can say of a user.
FIELDS = ("home", "maildir", "uid", "gid", "quota", "detail", "script", "alias")

# Strings, quoted names, comments and casts are stepped over: what looks like a parameter in them is none.
_TOKEN = re.compile(
    r"""'(?:[^']|'')*' | "(?:[^"]|"")*" | --[^\n]* | /\*.*?\*/ | :: | :([A-Za-z_][A-Za-z_0-9]*)""",
    re.VERBOSE | re.DOTALL,
)


class QueryError(ValueError):
    """The query cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class Query:
    """A query taken apart: texts, and between them the names of parameters."""

    pieces: tuple[str, ...]  # text, name, text, name, ..., text

    @classmethod
    def parse(cls, text: str) -> "Query":
        """Find the parameters. Raise QueryError for unknown ones, or where there is none."""
        pieces = [""]
        end = 0
        for match in _TOKEN.finditer(text):
            name = match[1]
            if name is None:
                continue
            if name not in PARAMETERS:
                known = ", ".join(f":{each}" for each in PARAMETERS)
                raise QueryError(f":{name} is unknown: only {known} can be filled in")
            pieces[-1] += text[end : match.start()]
            pieces += [name, ""]
            end = match.end()
        pieces[-1] += text[end:]
        if not {"address", "user"} & set(pieces[1::2]):
            raise QueryError('must ask for :address or :user, as in "... WHERE address = :address"')
        return cls(tuple(pieces))

    @property
    def names(self) -> frozenset[str]:
        """The parameters that it has."""
        return frozenset(self.pieces[1::2])

    def written(self, *, percent: bool) -> str:
        """Write it with :name, or with %(name)s and every other "%" doubled."""
        if not percent:
            return "".join(f":{piece}" if index % 2 else piece for index, piece in enumerate(self.pieces))
        return "".join(
            f"%({piece})s" if index % 2 else piece.replace("%", "%%")
            for index, piece in enumerate(self.pieces)
        )


def parse_iterate_query(text: str) -> str:
    """Accept a query for everybody: nothing can be filled in. Raise QueryError."""
    if names := [match[1] for match in _TOKEN.finditer(text) if match[1] is not None]:
        raise QueryError(f"asks for everybody, so nothing can be filled in: not :{names[0]}")
    return text


_BRACED = re.compile(r"\{([^{}]*)\}")


def parse_filter(text: str) -> str:
    """Accept an LDAP filter with {address}, {user}, {domain}, {detail}. Raise QueryError."""
    names = _BRACED.findall(text)
    if unknown := [name for name in names if name not in PARAMETERS]:
        known = ", ".join(f"{{{each}}}" for each in PARAMETERS)
        raise QueryError(f"{{{unknown[0]}}} is unknown: only {known} can be filled in")
    if set("{}") & set(_BRACED.sub("", text)):
        raise QueryError("has a brace without its partner")
    if not {"address", "user"} & set(names):
        raise QueryError('must ask for {address} or {user}, as in "(mail={address})"')
    return _bracketed(text)


def parse_plain_filter(text: str) -> str:
    """Accept an LDAP filter for everybody: nothing can be filled in. Raise QueryError."""
    if set("{}") & set(text):
        raise QueryError("asks for everybody, so nothing can be filled in: no braces")
    return _bracketed(text)


def _bracketed(text: str) -> str:
    if text.count("(") != text.count(")") or not (text.startswith("(") and text.endswith(")")):
        raise QueryError("must begin and end with brackets, with as many closed as opened")
    return text


def parse_mapping(columns: Mapping[str, str]) -> Mapping[str, str]:
    """Accept field -> column or attribute. Raise QueryError."""
    if unknown := [field for field in columns if field not in FIELDS]:
        raise QueryError(f'"{unknown[0]}" is unknown: what can be mapped is {", ".join(FIELDS)}')
    return columns
