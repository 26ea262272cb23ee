"""Whose rights a delivery has, where each mailbox's owner delivers to himself (`server.run_as`).

The rule: a mailbox leaves here with the rights of a user that mail may be delivered as, or not at all. Whom
a source names is its owner; where none does, whoever owns the Maildir. What is wrong with an owner can be
mended, and no mail bounces for it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

from lmtpd.protocol.addresses import Address
from lmtpd.recipients.directory import Directory
from lmtpd.recipients.mailbox import Mailbox, Mailboxes, MailboxOwner, Resolved, Step, Unavailable, Unknown
from storage.disk import Disk
from storage.errors import MailboxMissing, StorageError, from_oserror
from storage.owned_disk import NOBODY
from storage.thread_rights import Rights


class Recipients(Protocol):
    """Everybody whom mail may be for."""

    @property
    def may_wait(self) -> bool:
        """Whether a look-up may take long: it asks another server, say."""

    def find(self, address: Address) -> Resolved:
        """Resolve one address."""

    def explain(self, address: Address) -> Iterator[Step]:
        """Tell every look-up that `find` makes."""

    def close(self) -> None:
        """Let go of the sources' connections."""


@dataclass(frozen=True, slots=True)
class OwnerRules:
    """The `[owners]` section as this module needs it."""

    first_uid: int
    groups: tuple[str, ...] = ()  # which every owner has besides his own, for people


class OwnedRecipients:
    """The recipients of a directory, each mailbox with its owner's rights. Safe for all threads."""

    def __init__(self, directory: Directory, disk: Disk, rules: OwnerRules) -> None:
        self._directory = directory
        self._disk = disk
        self._rules = rules

    @property
    def may_wait(self) -> bool:
        """Whether a look-up may take long."""
        return self._directory.may_wait

    def find(self, address: Address) -> Resolved:
        """Resolve address; a mailbox that nobody's mail may be delivered to is Unavailable."""
        resolved = self._directory.find(address)
        match resolved:
            case Mailbox():
                return self._with_rights(resolved)
            case Mailboxes(alias, mailboxes):
                owned = []
                for mailbox in mailboxes:
                    found = self._with_rights(mailbox)
                    if isinstance(found, Unavailable):
                        return found
                    owned.append(found)
                return Mailboxes(alias, tuple(owned))
            case Unknown() | Unavailable():
                return resolved

    def _with_rights(self, resolved: Mailbox) -> Mailbox | Unavailable:
        owner = resolved.owner or self._owner_on_disk(resolved)
        if isinstance(owner, Unavailable):
            return owner
        if (why := self._refusal(owner)) is not None:
            return Unavailable(f"{resolved.maildir.path} belongs to uid {owner.uid}, gid {owner.gid}: {why}")
        rights = Rights(owner.uid, owner.gid)
        return replace(resolved, owner=owner, maildir=replace(resolved.maildir, rights=rights))

    def explain(self, address: Address) -> Iterator[Step]:
        """Tell every look-up, and whose the mailbox is."""
        yield from self._directory.explain(address)
        resolved = self._directory.find(address)
        several = resolved.mailboxes if isinstance(resolved, Mailboxes) else (resolved,)
        for mailbox in several:
            if isinstance(mailbox, Mailbox):
                source = "named by the source" if mailbox.owner is not None else "owner of the Maildir"
                yield Step("rights", self._explain(self._with_rights(mailbox), source))

    def close(self) -> None:
        """Let go of the sources' connections."""
        self._directory.close()

    def _explain(self, found: Mailbox | Unavailable, source: str) -> str:
        if not isinstance(found, Mailbox):
            return f"none: {found.reason}"
        return ", ".join(
            (f"{found.maildir.rights}", *(f"group {each}" for each in self._rules.groups), source)
        )

    def _owner_on_disk(self, mailbox: Mailbox) -> MailboxOwner | Unavailable:
        """Look whose the Maildir is. What is opened with his rights later is reached without links."""
        path = mailbox.maildir.path
        try:
            status = self._disk.status(path)
        except OSError as exc:
            error: StorageError = from_oserror(exc)
            if isinstance(error, MailboxMissing):
                return Unavailable(f"there is no Maildir at {path}, and no recipient source names its owner")
            return Unavailable(str(error))
        return MailboxOwner(status.st_uid, status.st_gid)

    def _refusal(self, owner: MailboxOwner) -> str | None:
        if owner.uid == 0 or owner.gid == 0:
            return "no mail is delivered with root's rights"
        if owner.uid < self._rules.first_uid:
            return f"below owners.first_uid, {self._rules.first_uid}"
        if owner.uid == NOBODY.uid:
            return "which is nobody"
        return None
