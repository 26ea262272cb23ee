"""The mailboxes: whose they are, and whether each can be addressed."""

import os
import pwd
import re
import stat
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field

from lmtpd.cli.doctor.findings import Finding, command, critical, warning
from lmtpd.config import Config

LOOKED_AT = 100_000  # mailboxes; a second or two
TOLD = 3  # examples of one fault


@dataclass(slots=True)
class Faults:
    """What was seen, by fault."""

    foreign: list[str] = field(default_factory=list)
    nobodys: list[str] = field(default_factory=list)  # of users that no mail may be delivered as
    closed: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    twins: list[tuple[str, str]] = field(default_factory=list)  # unreachable, reachable
    unreachable: list[tuple[str, str]] = field(default_factory=list)  # as it is, as it should be called


def check_mailboxes(config: Config, uid: int) -> Iterator[Finding]:
    """Look at every mailbox's directory.  uid: whose they should be."""
    template = config.mailboxes.path
    if template is None:
        return
    owner = _name(uid)
    if not os.path.isdir(template.root):
        yield critical(
            "mailboxes.root",
            f"{template.root} does not exist: all mail is deferred",
            command("install", "-d", "-o", owner, "-m", "0700", template.root),
        )
        return
    if config.mailboxes.create and os.stat(template.root).st_uid not in (uid, 0) and uid:
        yield critical(
            "mailboxes.root",
            f"{owner} cannot make mailboxes in {template.root}, which is another user's",
            command("chown", owner, template.root),
        )
    faults = Faults()
    _look(template.root, list(template.parts), faults, config=config, uid=uid)
    yield from _told(faults, owner)


def _look(directory: str, parts: list[str], faults: Faults, *, config: Config, uid: int) -> None:
    """Go down the template, part by part."""
    left = LOOKED_AT
    waiting = [(directory, parts)]
    while waiting and left:
        here, below = waiting.pop()
        if not below:
            left -= 1
            _mailbox(here, faults, uid, config=config)
            continue
        part, *rest = below
        names = _names(here, part)
        if "{" in part and config.mailboxes.fold_case:
            _fold(here, names, faults)
        waiting += [(os.path.join(here, name), rest) for name in names]


def _names(directory: str, part: str) -> list[str]:
    if "{" not in part:
        return [part] if os.path.lexists(os.path.join(directory, part)) else []
    pattern = re.compile("(.+)".join(re.escape(text) for text in re.split(r"\{[a-z]+\}", part)), re.DOTALL)
    try:
        found = sorted(os.listdir(directory))
    except OSError:
        return []
    return [name for name in found if not name.startswith(".") and pattern.fullmatch(name)]


def _fold(directory: str, names: list[str], faults: Faults) -> None:
    known = set(names)
    for name in names:
        folded = unicodedata.normalize("NFC", name).lower()
        if folded != name:
            where = faults.twins if folded in known else faults.unreachable
            where.append((os.path.join(directory, name), os.path.join(directory, folded)))


def _mailbox(path: str, faults: Faults, uid: int, *, config: Config) -> None:
    try:
        found = os.lstat(path)
    except OSError:
        return
    if stat.S_ISLNK(found.st_mode):
        faults.links.append(path)
    elif not stat.S_ISDIR(found.st_mode):
        faults.files.append(path)
    elif found.st_uid != uid and uid:
        faults.foreign.append(path)
    elif config.acts_as_recipients and (found.st_uid < config.owners.first_uid or found.st_gid == 0):
        faults.nobodys.append(path)
    elif found.st_mode & stat.S_IRWXU != stat.S_IRWXU:
        faults.closed.append(path)


def _told(faults: Faults, owner: str) -> Iterator[Finding]:
    yield from _owners_told(faults, owner)
    for path in faults.closed[:TOLD]:
        yield critical(
            "mailboxes.mode",
            f"{path} is closed to its own owner: its mail is deferred{_more(faults.closed)}",
            command("chmod", "u+rwx", path),
        )
    for path in faults.links[:TOLD]:
        yield critical(
            "mailboxes.link",
            f"{path} is a link, which is not followed: its mail is deferred{_more(faults.links)}",
            f"{command('rm', path)} && {command('mv', os.path.realpath(path), path)}",
        )
    for path in faults.files[:TOLD]:
        yield critical(
            "mailboxes.file",
            f"{path} is no directory: its mail is deferred{_more(faults.files)}",
            command("mv", path, f"{path}.mbox"),
        )
    for path, kept in faults.twins[:TOLD]:
        yield warning(
            "mailboxes.twin",
            f"{path} and {kept} differ in case only: all mail goes to the latter{_more(faults.twins)}",
            f"{command('cp', '-an', f'{path}/.', f'{kept}/')} && {command('rm', '-r', path)}",
        )
    for path, name in faults.unreachable[:TOLD]:
        yield warning(
            "mailboxes.case",
            f"{path} cannot be addressed, since names are folded to lower case{_more(faults.unreachable)}",
            command("mv", path, name),
        )


def _owners_told(faults: Faults, owner: str) -> Iterator[Finding]:
    for path in faults.foreign[:TOLD]:
        theirs = _name(os.stat(path).st_uid)
        yield critical(
            "mailboxes.owner",
            f"{path} is {theirs}'s, {owner} delivers: its mail is deferred{_more(faults.foreign)}",
            command("chown", "-R", owner, path),
        )
    for path in faults.nobodys[:TOLD]:
        theirs = _name(os.stat(path).st_uid)
        yield critical(
            "mailboxes.owner",
            f"{path} is {theirs}'s, whose rights no mail is delivered with{_more(faults.nobodys)}",
            command("chown", "-R", "USER:", path),
        )


def _more(found: "list[str] | list[tuple[str, str]]") -> str:
    return f" (and {len(found) - TOLD} more)" if len(found) > TOLD else ""


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
