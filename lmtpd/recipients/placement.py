"""From what a source knows of a user to his mailbox: where it lies, and by which rules.

The first of these that there is decides: the Maildir that the source names; the source's own `path`;
`Maildir` in the home that the source names; the path of the domain, or of the site.
"""

import os.path
from collections.abc import Iterator, Mapping
from dataclasses import replace

from lmtpd.recipients.entry import Entry, EntryError
from lmtpd.recipients.locations import Template
from lmtpd.recipients.lookup import Question
from lmtpd.recipients.mailbox import Aliases, Found, Mailbox, Step, Unavailable, Unknown
from lmtpd.recipients.maildirs import delivered_to, file_detail
from lmtpd.recipients.presence import is_directory, owners_eyes, tell_detail
from lmtpd.recipients.rules import Detail, MaildirRules
from storage.disk import Disk
from storage.errors import StorageError
from storage.maildir import MaildirPath

_BELOW_HOME = "Maildir"


class Placement:
    """The rules of one source. Values only but for the disk; safe for all threads."""

    def __init__(
        self,
        disk: Disk,
        rules: MaildirRules,
        domains: Mapping[str, MaildirRules],
        *,
        path: str | None = None,
        create: bool = True,
    ) -> None:
        """path: the source's own template. create: a known user's missing Maildir is made."""
        self._disk = disk
        self._rules = rules
        self._domains = domains
        self._path = Template(path) if path is not None else None
        self._create = create
        self._templates: dict[str, Template] = {
            each.template: Template(each.template)
            for each in (rules, *domains.values())
            if each.template is not None
        }

    def rules_of(self, domain: str) -> MaildirRules:
        """The rules of the domain, else the site's."""
        return self._domains.get(domain, self._rules)

    def place(self, entry: Entry, question: Question, rules: MaildirRules) -> Found:
        """Make the mailbox, or the alias. EntryError: it is nowhere."""
        rules = _with_wishes(entry, rules)
        if entry.targets and not _has_mailbox(entry):
            return Aliases(entry.targets)
        found = self._locate(entry, question, rules)
        if found is None:
            return Unknown("no mailbox can have this name")
        maildir, by_detail = found
        detail = None if by_detail else question.detail
        mailbox = Mailbox(
            user=question.user,
            address=delivered_to(question.user, question.detail, question.domain, question.delimiter),
            maildir=maildir,
            layout=rules.layout,
            folder=None,
            create=self._create,
            create_folder=rules.detail is Detail.CREATE,
            owner=entry.owner,
            quota=rules.quota,
            script=entry.script,
            home=entry.home,
            names=rules.names,
            subscribe=rules.subscribe,
        )
        placed = self._check(mailbox, detail, rules)
        return Aliases(entry.targets, placed) if entry.targets else placed

    def explain(self, entry: Entry, question: Question, rules: MaildirRules) -> Iterator[Step]:
        """Tell what the source knows, and where that leads."""
        rules = _with_wishes(entry, rules)
        for name in ("home", "maildir", "quota", "script"):
            if (value := getattr(entry, name)) is not None:
                yield Step(f"answer: {name}", str(value))
        if entry.owner is not None:
            yield Step("answer: owner", f"uid {entry.owner.uid}, gid {entry.owner.gid}")
        if entry.targets:
            yield Step("answer: alias", ", ".join(map(str, entry.targets)))
            if not _has_mailbox(entry):
                return
        try:
            found = self._locate(entry, question, rules)
        except EntryError as exc:
            yield Step("path", str(exc))
            return
        if found is None:
            yield Step("path", "none: a name in it is unsafe or empty")
            return
        path = found[0].path
        yield Step("Maildir", path)
        try:
            exists = is_directory(self._disk, path)
        except StorageError as exc:
            yield Step("on disk", str(exc))
            return
        absent = "missing, will be made" if self._create else "missing"
        yield Step("on disk", "a directory" if exists else absent)
        if question.detail is not None and not found[1]:
            yield from self._explain_detail(question.detail, self.place(entry, question, rules), rules)

    def _explain_detail(self, detail: str, placed: Found, rules: MaildirRules) -> Iterator[Step]:
        own = placed.own if isinstance(placed, Aliases) else placed
        if isinstance(own, Mailbox):
            yield Step(f"detail ({rules.detail.value})", tell_detail(rules, detail, own.folder))

    def _locate(
        self, entry: Entry, question: Question, rules: MaildirRules
    ) -> tuple[MaildirPath, bool] | None:
        """Find the Maildir, and whether the detail is in its path; None: the names are not safe."""
        if entry.maildir is not None:
            return self._named(entry, entry.maildir, rules), False
        template = self._path
        if template is None and entry.home is not None:
            return self._named(entry, f"{entry.home}/{_BELOW_HOME}", rules), False
        if template is None and rules.template is not None:
            template = self._templates[rules.template]
        if template is None:
            raise EntryError("neither maildir nor home is known, and no path is configured")
        if template.of_home and entry.home is None:
            raise EntryError(f"no home is known, and the path is {template.text}")
        maildir = template.path_of(
            user=question.user, domain=question.domain, detail=question.detail, home=entry.home
        )
        return None if maildir is None else (maildir, template.files_detail)

    def _named(self, entry: Entry, text: str, rules: MaildirRules) -> MaildirPath:
        """Read the Maildir that a source names. What lies below a known root is reached without links."""
        site = self._templates[rules.template].root if rules.template is not None else None
        text = text.removeprefix("~/")
        if not text.startswith("/"):
            base = entry.home or site
            if base is None:
                raise EntryError(f"maildir {text!r} is relative, and no home is known")
            text = f"{base}/{text}"
        if ".." in text.split("/"):
            raise EntryError(f'maildir {text!r} must not contain ".."')
        path = os.path.normpath(text)
        for root in filter(None, (site, entry.home)):
            root = os.path.normpath(root)
            if path.startswith(root + "/"):
                return MaildirPath(root, tuple(path[len(root) + 1 :].split("/")))
        parent, _, name = path.rpartition("/")
        if not name:
            raise EntryError(f"maildir {text!r} is no mailbox")
        return MaildirPath(parent or "/", (name,))

    def _check(self, mailbox: Mailbox, detail: str | None, rules: MaildirRules) -> Mailbox | Unavailable:
        """Look whether it is there, and for the folder. A known user is never called unknown for it."""
        if detail is None and self._create:
            return mailbox  # opening it finds out
        try:
            # Where no owner is named, whoever has the Maildir is, if there is one.
            disk = self._disk if mailbox.owner is None else owners_eyes(self._disk, mailbox)
            exists = is_directory(disk, mailbox.maildir.path)
            if not exists and not self._create:
                return Unavailable(f"a known user, but there is no Maildir at {mailbox.maildir.path}")
            if detail is None:
                return mailbox
            return file_detail(self._disk, mailbox, detail, rules=rules, exists=exists)
        except StorageError as exc:
            return Unavailable(str(exc), exc)


def _has_mailbox(entry: Entry) -> bool:
    return entry.maildir is not None or entry.home is not None


def _with_wishes(entry: Entry, rules: MaildirRules) -> MaildirRules:
    """What the user has of his own goes before what his domain has."""
    wishes = {
        name: value
        for name in ("quota", "detail", "layout", "names")
        if (value := getattr(entry, name)) is not None
    }
    return replace(rules, **wishes) if wishes else rules
