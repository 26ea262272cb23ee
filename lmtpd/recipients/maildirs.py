"""The source `maildirs`: a template says where each Maildir lies; the file system is the list of users."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache

from lmtpd.protocol.addresses import Address
from lmtpd.recipients.locations import Template
from lmtpd.recipients.mailbox import Mailbox, Step, Unavailable, Unknown
from lmtpd.recipients.naming import user_and_detail
from lmtpd.recipients.presence import folder_for, folder_name, is_directory, missing, owners_eyes, tell_detail
from lmtpd.recipients.rules import Detail, MaildirRules
from storage.disk import Disk
from storage.errors import StorageError

__all__ = ["Detail", "MaildirRules", "MaildirSource"]

ADDRESSES_KEPT = 10_000  # some 10 MB at most


class MaildirSource:
    """Resolve addresses by the template. One per worker; safe for all its threads."""

    name = "maildirs"
    may_wait = False

    def __init__(
        self, disk: Disk, rules: MaildirRules, domains: Mapping[str, MaildirRules] | None = None
    ) -> None:
        """domains: those with rules of their own. All rules have a template."""
        self._disk = disk
        self._rules = rules
        self._domains = domains or {}
        self._templates: dict[str | None, Template] = {
            each.template: Template(each.template)
            for each in (rules, *self._domains.values())
            if each.template is not None
        }
        # What an address names never changes; only whether it is there is asked of the disk each time.
        self._named = lru_cache(ADDRESSES_KEPT)(self._name)

    def find(self, address: Address) -> Mailbox | Unknown | Unavailable:
        """Resolve address with at most a few lstat(2) calls; never raises for what the disk does."""
        named = self._named(address)
        if named is None:
            return Unknown("no mailbox can have this name")
        mailbox, detail, rules = named
        try:
            exists = is_directory(self._disk, mailbox.maildir.path)
            if not exists and not rules.create:
                return missing(self._disk, mailbox.maildir)
            if detail is None:
                return mailbox
            return file_detail(self._disk, mailbox, detail, rules=rules, exists=exists)
        except StorageError as exc:
            return Unavailable(str(exc), exc)

    def _name(self, address: Address) -> tuple[Mailbox, str | None, MaildirRules] | None:
        """Make the mailbox that address names, and the detail that names a folder; None: not safe."""
        rules = self._rules_of(address)
        user, detail = user_and_detail(address, delimiters=rules.delimiters, fold_case=rules.fold_case)
        template = self._templates[rules.template]
        maildir = template.path_of(user=user, domain=address.domain, detail=detail)
        if maildir is None:
            return None
        mailbox = Mailbox(
            user=user,
            address=delivered_to(user, detail, address.domain, rules.delimiters),
            maildir=maildir,
            layout=rules.layout,
            folder=None,
            create=rules.create,
            create_folder=rules.detail is Detail.CREATE,
            quota=rules.quota,
            names=rules.names,
            subscribe=rules.subscribe,
        )
        return mailbox, None if template.files_detail else detail, rules

    def explain(self, address: Address) -> Iterator[Step]:
        """Tell, step by step, what `find` does with address."""
        rules = self._rules_of(address)
        user, detail = user_and_detail(address, delimiters=rules.delimiters, fold_case=rules.fold_case)
        yield Step("user", user + (f", detail {detail}" if detail else ""))
        named = self._named(address)
        if named is None:
            yield Step("path", "none: a name in it is unsafe or empty")
            return
        yield Step("template", rules.template or "")
        maildir = named[0].maildir
        yield Step("Maildir", maildir.path)
        try:
            exists = is_directory(self._disk, maildir.path)
        except StorageError as exc:
            yield Step("on disk", str(exc))
            return
        absent = "missing, will be made" if rules.create else "missing"
        yield Step("on disk", "a directory" if exists else absent)
        if named[1] is not None and isinstance(found := self.find(address), Mailbox):
            yield Step(f"detail ({rules.detail.value})", tell_detail(rules, named[1], found.folder))

    def _rules_of(self, address: Address) -> MaildirRules:
        return self._domains.get(address.domain, self._rules)


def file_detail(disk: Disk, mailbox: Mailbox, detail: str, *, rules: MaildirRules, exists: bool) -> Mailbox:
    """Choose the folder for detail in a mailbox that exists or will be made. StorageError."""
    folder = folder_for(owners_eyes(disk, mailbox), mailbox.maildir, detail, rules=rules) if exists else None
    if folder is None and rules.detail is Detail.CREATE:
        folder = folder_name(rules, detail)
    return replace(mailbox, folder=folder)


def delivered_to(user: str, detail: str | None, domain: str, delimiters: str) -> str:
    """Write what Delivered-To says of a recipient."""
    local = user if detail is None else f"{user}{delimiters[:1]}{detail}"
    return str(Address(local, domain))
