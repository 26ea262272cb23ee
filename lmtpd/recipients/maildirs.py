"""The source `maildirs`: a template says where each address's Maildir lies; the file system is the user list.

The template's part before its first placeholder is the *root*: the administrator made it and links
in it are followed. Everything below comes from an address: each component is checked, and storage
opens it without following links.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum
from functools import lru_cache
from pathlib import PurePosixPath
from stat import S_ISDIR

from lmtpd.protocol.addresses import Address
from lmtpd.recipients.mailbox import Mailbox, Resolved, Step, Unavailable, Unknown
from lmtpd.recipients.naming import safe_component, user_and_detail
from storage.disk import Disk
from storage.errors import MailboxMissing, StorageError, from_oserror
from storage.folders import FolderNameError, Layout, folder_of_name, folder_parts
from storage.maildir import MaildirPath

ADDRESSES_KEPT = 10_000  # some 10 MB at most


class Detail(Enum):
    """Where user+detail goes."""

    INBOX = "inbox"
    EXISTING = "existing"  # to the folder of this name if there is one
    CREATE = "create"  # to the folder of this name, made if it is missing


@dataclass(frozen=True, slots=True)
class MaildirRules:
    """The `[mailboxes]` section as this source needs it."""

    template: str  # absolute; {user}, {domain}, {detail}
    create: bool
    layout: Layout
    detail: Detail
    delimiters: str
    fold_case: bool


class MaildirSource:
    """Resolve addresses by the template. One per worker; safe for all its threads."""

    name = "maildirs"

    def __init__(self, disk: Disk, rules: MaildirRules) -> None:
        self._disk = disk
        self._rules = rules
        self.root, self._components = _split_template(rules.template)
        self._names_domain = "{domain}" in rules.template
        self._files_detail = "{detail}" not in rules.template
        # What an address names never changes; only whether it is there is asked of the disk each time.
        self._named = lru_cache(ADDRESSES_KEPT)(self._name)

    def find(self, address: Address) -> Resolved:
        """Resolve address with at most a few lstat(2) calls; never raises for what the disk does."""
        rules = self._rules
        named = self._named(address)
        if named is None:
            return Unknown("no mailbox can have this name")
        mailbox, detail = named
        try:
            exists = self._is_directory(mailbox.maildir.path)
            if not exists and not rules.create:
                return self._missing(mailbox.maildir)
            if detail is None:
                return mailbox
            folder = self._folder(mailbox.maildir, detail) if exists else None
        except StorageError as exc:
            return Unavailable(str(exc))
        if folder is None and rules.detail is Detail.CREATE and self._files_detail:
            folder = _folder_name(rules.layout, detail)
        return replace(mailbox, folder=folder)

    def _name(self, address: Address) -> tuple[Mailbox, str | None] | None:
        """Make the mailbox that address names, and its detail; None if the name is not safe."""
        rules = self._rules
        user, detail = user_and_detail(address, delimiters=rules.delimiters, fold_case=rules.fold_case)
        parts = self._parts(user, address.domain, detail)
        if parts is None:
            return None
        mailbox = Mailbox(
            user=user,
            address=_delivered_to(user, detail, address.domain, rules.delimiters),
            maildir=MaildirPath(self.root, parts),
            layout=rules.layout,
            folder=None,
            create=rules.create,
            create_folder=rules.detail is Detail.CREATE,
        )
        return mailbox, detail

    def explain(self, address: Address) -> Iterator[Step]:
        """Tell, step by step, what `find` does with address."""
        rules = self._rules
        user, detail = user_and_detail(address, delimiters=rules.delimiters, fold_case=rules.fold_case)
        yield Step("user", user + (f", detail {detail}" if detail else ""))
        parts = self._parts(user, address.domain, detail)
        if parts is None:
            yield Step("path", "none: a name in it is unsafe or empty")
            return
        yield Step("template", rules.template)
        yield Step("Maildir", MaildirPath(self.root, parts).path)
        try:
            exists = self._is_directory(MaildirPath(self.root, parts).path)
        except StorageError as exc:
            yield Step("on disk", str(exc))
            return
        missing = "missing, will be made" if rules.create else "missing"
        yield Step("on disk", "a directory" if exists else missing)
        if detail is not None:
            yield Step(f"detail ({rules.detail.value})", detail)

    def _parts(self, user: str, domain: str, detail: str | None) -> tuple[str, ...] | None:
        if self._names_domain and not safe_component(domain):
            return None
        if not safe_component(user) or (not self._files_detail and detail and not safe_component(detail)):
            return None
        values = {"user": user, "domain": domain, "detail": detail or ""}
        parts = []
        for component in self._components:
            part = component.format_map(values) if "{" in component else component
            if not part:
                continue  # an empty detail leaves no directory of its own
            if "{" in component and not safe_component(part):
                return None  # too long, together with what stands around the placeholder
            parts.append(part)
        return tuple(parts)

    def _is_directory(self, path: str) -> bool:
        """Raise StorageError for anything but a directory or nothing at all."""
        try:
            status = self._disk.status(path)
        except OSError as exc:
            error = from_oserror(exc)
            if isinstance(error, MailboxMissing):
                return False
            raise error from exc
        if not S_ISDIR(status.st_mode):
            raise StorageError(f"{path}: not a directory")
        return True

    def _missing(self, maildir: MaildirPath) -> Resolved:
        """Say Unknown only if the tree the Maildir is missing from is really there."""
        try:
            handle = self._disk.open_directory(self.root, follow=True)
        except OSError as exc:
            return Unavailable(f"the mailbox root cannot be read: {from_oserror(exc)}")
        try:
            # An empty root is far more often a file system that is not mounted than a site
            # without a single mailbox, and a bounce cannot be taken back.
            empty = not any(name != "lost+found" for name in self._disk.list_names(handle))
        except OSError as exc:
            return Unavailable(f"the mailbox root cannot be read: {from_oserror(exc)}")
        finally:
            self._disk.close(handle)
        if empty:
            return Unavailable(f"the mailbox root {self.root} is empty: not mounted?")
        return Unknown(f"no Maildir at {maildir.path}")

    def _folder(self, maildir: MaildirPath, detail: str) -> str | None:
        """Find the folder that detail names: exactly, else in another case."""
        rules = self._rules
        wanted = _folder_name(rules.layout, detail)
        if rules.detail is Detail.INBOX or not self._files_detail or wanted is None:
            return None
        parts = maildir.parts + folder_parts(rules.layout, wanted)
        if self._is_directory(MaildirPath(maildir.root, parts).path):
            return wanted
        if rules.layout is not Layout.MAILDIRPP:
            return None
        try:
            handle = self._disk.open_directory(maildir.path)
        except OSError as exc:
            raise from_oserror(exc) from exc
        try:
            folders = (folder_of_name(name) for name in self._disk.list_names(handle) if name.startswith("."))
            twins = [folder for folder in folders if folder is not None and folder.lower() == wanted.lower()]
        except OSError as exc:
            raise from_oserror(exc) from exc
        finally:
            self._disk.close(handle)
        return min(twins, default=None)


def _split_template(template: str) -> tuple[str, tuple[str, ...]]:
    parts = PurePosixPath(template).parts
    first = next(i for i, part in enumerate(parts) if "{" in part)
    return str(PurePosixPath(*parts[:first])), parts[first:]


def _folder_name(layout: Layout, detail: str) -> str | None:
    """Read a detail as a folder name: "." is the separator, INBOX in any case is the INBOX."""
    folder = detail.replace(".", "/")
    if folder.lower() == "inbox":
        return None
    try:
        folder_parts(layout, folder)
    except FolderNameError:
        return None
    return folder


def _delivered_to(user: str, detail: str | None, domain: str, delimiters: str) -> str:
    local = user if detail is None else f"{user}{delimiters[:1]}{detail}"
    return str(Address(local, domain))
