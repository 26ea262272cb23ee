"""Everybody who has a mailbox: what `--all` stands for.

Each recipient source of the configuration is asked who its users are; each user is then looked up as a
single one is, so that the first source that knows him says where his Maildir is. Where the directories are
the users, the disk is asked.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass

from lmtpd.cli.directory import build_directory, build_lookup
from lmtpd.config import Config
from lmtpd.config.recipients import AskedSource, MaildirsSource, PostfixSource, SocketmapSource
from lmtpd.config.template import HOME, Template
from lmtpd.recipients.directory import Directory
from lmtpd.recipients.entry import EntryError
from lmtpd.recipients.everyone import Known, addresses, everyone
from lmtpd.recipients.lookup import CannotList, LookupFailed
from lmtpd.recipients.mailbox import Mailbox, Unavailable, Unknown
from scripts.shell.failures import named
from scripts.shell.target import Target
from storage.disk import Disk
from storage.folders import FolderNames, Layout
from storage.making import OwnerIds


@dataclass(frozen=True, slots=True)
class Missed:
    """A user, or a whole source, of whom nobody can say now where the Maildirs are."""

    text: str
    code: int


def everybody(config: Config) -> Iterator[Target | Missed]:
    """Yield each mailbox once, in the order of the sources. Failure for a tree that cannot be read."""
    seen: set[str] = set()
    directory = build_directory(config, Disk())
    try:
        for settings in config.recipients:
            found = (
                _on_disk(config, config.mailboxes.path)
                if isinstance(settings, MaildirsSource)
                else _listed(config, settings, directory)
                if isinstance(settings, AskedSource)
                else ()
            )
            for each in found:
                if isinstance(each, Target):
                    if each.path in seen:
                        continue
                    seen.add(each.path)
                yield each
    finally:
        directory.close()


def target_of(mailbox: Mailbox, user: str) -> Target:
    """Make a Maildir to work on of a mailbox that an address led to."""
    owner = OwnerIds(mailbox.owner.uid, mailbox.owner.gid) if mailbox.owner is not None else None
    return Target(mailbox.maildir, mailbox.layout, user, mailbox.names, owner, may_be_missing=mailbox.create)


def roots(config: Config) -> list[str]:
    """Return the directories in which Maildirs of anybody may appear: those that templates begin with."""
    templates = [config.mailboxes.path, *(domain.path for domain in config.domains.values())]
    templates += [each.path for each in config.recipients if isinstance(each, AskedSource)]
    found = {template.root for template in templates if template is not None and template.root != HOME}
    return sorted(root for root in found if not any(root.startswith(f"{other}/") for other in found))


def _on_disk(config: Config, template: Template | None) -> Iterator[Target]:
    """Yield what the template fits, and those of domains with rules of their own."""
    own = {name: each for name, each in config.domains.items() if each.path is not None}
    if template is not None:
        for known in _below(template):
            domain = known.address.rpartition("@")[2] if "@" in known.address else ""
            if domain not in own:
                yield _target(config, known, domain)
    for name, each in own.items():
        assert each.path is not None
        for known in _below(each.path):
            user, _, domain = known.address.partition("@")
            if domain in ("", name):
                yield _target(config, Known(f"{user}@{name}", known.maildir), name)


def _below(template: Template) -> Iterator[Known]:
    try:
        yield from everyone(template.root, template.parts)
    except OSError as exc:
        raise named(exc) from exc


def _target(config: Config, known: Known, name: str) -> Target:
    domain, site = config.domains.get(name), config.mailboxes
    layout = domain.layout if domain is not None and domain.layout is not None else site.layout
    names = domain.folder_names if domain is not None and domain.folder_names else site.folder_names
    return Target(known.maildir, Layout(layout), known.address, FolderNames(names))


def _listed(config: Config, settings: AskedSource, directory: Directory) -> Iterator[Target | Missed]:
    lookup = build_lookup(settings, config)
    has_whole_domains = False
    try:
        for name in lookup.users():
            found = list(_of(name, settings, config, directory))
            # "@domain" without a Maildir of its own: whoever has one there.
            has_whole_domains |= name.startswith("@") and not any(isinstance(each, Target) for each in found)
            yield from (each for each in found if isinstance(each, Target) or not name.startswith("@"))
    except CannotList as exc:
        kind = settings.result if isinstance(settings, SocketmapSource | PostfixSource) else ""
        if kind == "alias":
            return
        has_whole_domains = True
        # "user" says no more than that there is one: all who have a Maildir are those of the template.
        if kind != "user":
            yield Missed(f"{lookup.name} cannot tell who its users are: {exc}", os.EX_UNAVAILABLE)
    except (LookupFailed, EntryError) as exc:
        yield Missed(f"{lookup.name} cannot tell who its users are now: {exc}", os.EX_TEMPFAIL)
    finally:
        lookup.close()
    if has_whole_domains:
        template = settings.path or config.mailboxes.path
        yield from _on_disk(config, template if template is not None and template.root != HOME else None)


def _of(name: str, settings: AskedSource, config: Config, directory: Directory) -> Iterator[Target | Missed]:
    unknown: Missed | None = None
    is_known = False
    for address in addresses(name, settings.domains, others=config.domains):
        text = f"{address.local}@{address.domain}" if address.domain else address.local
        match directory.find_itself(address):
            case Mailbox() as box:
                is_known = True
                yield target_of(box, text)
            case Unknown(reason):
                unknown = unknown or Missed(f"{text}: {reason}", os.EX_NOUSER)
            case Unavailable(reason):
                is_known = True
                yield Missed(f"{text}: {reason}", os.EX_TEMPFAIL)
            case None:
                is_known = True  # an alias, and no mailbox
    if unknown is not None and not is_known:
        yield unknown
