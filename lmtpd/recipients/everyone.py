"""Everybody, for the admin scripts: what exists, by the template read backwards, and who is listed by name.

Of the disk only what the source `maildirs` would find for the address is told: names that an address can lead
to, directories, and no links below the root.
"""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from lmtpd.protocol.addresses import Address
from lmtpd.recipients.naming import safe_component
from storage.maildir import MaildirPath

_PLACEHOLDER = re.compile(r"\{(user|domain|detail)\}")


@dataclass(frozen=True, slots=True)
class Known:
    """A mailbox on the disk."""

    address: str  # user@domain, or user alone where the template has no {domain}
    maildir: MaildirPath


def everyone(root: str, components: tuple[str, ...]) -> Iterator[Known]:
    """Yield the mailboxes below root, in the order of their paths. OSError where one cannot look.

    components: the template's, from the first one with a placeholder on.
    """
    patterns = [_pattern(component) for component in components]
    yield from _below(root, (), patterns, {})


def addresses(name: str, domains: Sequence[str], *, others: Iterable[str]) -> Iterator[Address]:
    """Yield the addresses of somebody whom a source lists as user@domain, or as user alone.

    A user alone has one in each of domains, those that the source is asked for. others: the domains that are
    known to be served, where it is asked for all.
    """
    user, at, domain = name.rpartition("@")
    if not at:
        yield from (Address(name, each) for each in domains or ("", *others))
    elif not domains or domain.lower() in domains:
        yield Address(user, domain.lower())


def _below(
    root: str, parts: tuple[str, ...], patterns: list[re.Pattern[str]], found: dict[str, str]
) -> Iterator[Known]:
    if not patterns:
        domain = found.get("domain")
        address = found["user"] + (f"@{domain}" if domain else "")
        yield Known(address, MaildirPath(root, parts))
        return
    with os.scandir(os.path.join(root, *parts)) as entries:
        names = sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    for name in names:
        match = patterns[0].fullmatch(name)
        if match is None:
            continue
        values = match.groupdict()
        if not all(safe_component(value) for value in values.values()):
            continue
        # The same placeholder in two components means the same value.
        if any(found.get(key, value) != value for key, value in values.items()):
            continue
        yield from _below(root, (*parts, name), patterns[1:], {**found, **values})


def _pattern(component: str) -> re.Pattern[str]:
    """Make the regular expression of one component: text as it stands, placeholders as groups."""
    pieces = _PLACEHOLDER.split(component)
    seen: set[str] = set()
    pattern = ""
    for index, piece in enumerate(pieces):
        if index % 2 == 0:
            pattern += re.escape(piece)
        elif piece in seen:
            pattern += f"(?P={piece})"
        else:
            seen.add(piece)
            pattern += f"(?P<{piece}>.+)"
    return re.compile(pattern, re.DOTALL)
