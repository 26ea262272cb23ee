"""The template of the Maildirs' paths."""

import os
import re
from dataclasses import dataclass

from lmtpd.config import values

PLACEHOLDERS = ("user", "domain", "detail")
HOME = "{home}"

_BRACED = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True, slots=True)
class Template:
    """The path of a Maildir with `{user}`, `{domain}` and `{detail}` in it.

    `root` is the absolute part in front of the first component with a placeholder: the administrator's own,
    so links in it are followed.  Each of `parts` is one component below it, placeholders not yet replaced.
    """

    text: str
    root: str
    parts: tuple[str, ...]


def parse_template(value: object) -> Template:
    """Accept the path template of the Maildirs."""
    return _parse(values.text(value), PLACEHOLDERS)


def parse_source_template(value: object) -> Template:
    """Accept a template that may also begin with `{home}`, which the recipient source then says."""
    given = values.text(value)
    if not given.startswith(HOME + "/"):
        if HOME in given:
            raise ValueError('may have {home} at its beginning only, as in "{home}/Maildir"')
        return _parse(given, (*PLACEHOLDERS, "home"))
    behind = given.removeprefix(HOME)
    template = _parse(f"/{{user}}{behind}", PLACEHOLDERS)  # as if there were one in front
    return Template(HOME + behind, HOME, template.parts[1:])


def _parse(given: str, allowed: tuple[str, ...]) -> Template:
    names = _BRACED.findall(given)
    for name in names:
        if name not in allowed:
            raise ValueError(
                f"{{{name}}} is unknown: only {{user}}, {{domain}} and {{detail}} can be filled in"
            )
    if set("{}") & set(_BRACED.sub("", given)):
        raise ValueError("has a brace without its partner: write {user}, {domain} or {detail}")
    if "user" not in names:
        raise ValueError('must contain {user}, as in "/srv/mail/{domain}/{user}"')
    if given.startswith("~"):
        raise ValueError("must be written without ~: nobody's home directory is filled in")
    root, below = _split_at_placeholder(given)
    # abspath would quietly swallow a placeholder in front of ".."
    if ".." in below:
        raise ValueError('must not contain ".." behind a placeholder')
    parts = tuple(part for part in below if part not in ("", "."))
    root = os.path.abspath(root or ".")
    return Template(os.path.join(root, *parts), root, parts)


def _split_at_placeholder(given: str) -> tuple[str, list[str]]:
    components = given.split("/")
    first = next(index for index, component in enumerate(components) if "{" in component)
    root = "/".join(components[:first])
    return root if root or first == 0 else "/", components[first:]
