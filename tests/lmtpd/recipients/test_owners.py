"""Whose rights a mailbox is delivered to with."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from lmtpd.protocol.addresses import Address
from lmtpd.recipients.directory import Directory
from lmtpd.recipients.mailbox import Aliases, Mailbox, Mailboxes, MailboxOwner, Unavailable, Unknown
from lmtpd.recipients.owners import OwnedRecipients, OwnerRules
from storage.disk import Disk
from storage.folders import Layout
from storage.maildir import MaildirPath
from storage.thread_rights import Rights
from tests.support.requirements import need

A = Address("a", "example.org")


class OneUser:
    """A source that knows a, and perhaps whose he is."""

    name = "one user"
    may_wait = False

    def __init__(self, root: Path, owner: MailboxOwner | None) -> None:
        self.mailbox = Mailbox(
            user="a",
            address="a@example.org",
            maildir=MaildirPath(str(root), ("a",)),
            layout=Layout.MAILDIRPP,
            folder=None,
            create=False,
            create_folder=False,
            owner=owner,
        )

    def find(self, address: Address) -> Mailbox | Unknown:
        return self.mailbox if address == A else Unknown("no such user")

    def explain(self, address: Address):
        return iter(())


def owned(root: Path, owner: MailboxOwner | None, *, first_uid: int = 1000, groups: tuple[str, ...] = ()):
    directory = Directory([OneUser(root, owner)], postmaster=Address("postmaster", "example.org"))
    return OwnedRecipients(directory, Disk(), OwnerRules(first_uid, groups))


def test_the_source_names_the_owner(tmp_path: Path):
    found = owned(tmp_path, MailboxOwner(1001, 1002)).find(A)

    assert isinstance(found, Mailbox)
    assert found.maildir == MaildirPath(str(tmp_path), ("a",), Rights(1001, 1002))


def test_else_the_maildir_has_one(tmp_path: Path):
    need("root")
    (tmp_path / "a").mkdir()
    os.chown(tmp_path / "a", 1003, 1004)

    found = owned(tmp_path, None).find(A)

    assert isinstance(found, Mailbox)
    assert found.owner == MailboxOwner(1003, 1004)
    assert found.maildir.rights == Rights(1003, 1004)


def test_a_missing_maildir_is_nobodys(tmp_path: Path):
    found = owned(tmp_path, None).find(A)

    assert found == Unavailable(
        f"there is no Maildir at {tmp_path}/a, and no recipient source names its owner"
    )


def test_a_place_that_cannot_be_looked_at_is_unavailable(tmp_path: Path):
    (tmp_path / "a").symlink_to("a")

    assert isinstance(owned(tmp_path / "a", None).find(A), Unavailable)


@pytest.mark.parametrize(
    "owner, first_uid, why",
    [
        (MailboxOwner(0, 1000), 1000, "no mail is delivered with root's rights"),
        (MailboxOwner(1000, 0), 1000, "no mail is delivered with root's rights"),
        (MailboxOwner(999, 1000), 1000, "below owners.first_uid, 1000"),
        (MailboxOwner(1000, 1000), 1000, None),
        (MailboxOwner(1001, 1000), 1000, None),
        (MailboxOwner(8, 8), 8, None),
        (MailboxOwner(65533, 1000), 1000, None),
        (MailboxOwner(65534, 1000), 1000, "which is nobody"),
    ],
)
def test_whom_mail_may_be_delivered_as(tmp_path: Path, owner: MailboxOwner, first_uid: int, why: str | None):
    found = owned(tmp_path, owner, first_uid=first_uid).find(A)

    if why is None:
        assert isinstance(found, Mailbox)
    else:
        assert isinstance(found, Unavailable)
        assert found.reason == f"{tmp_path}/a belongs to uid {owner.uid}, gid {owner.gid}: {why}"


def test_who_is_unknown_stays_so(tmp_path: Path):
    recipients = owned(tmp_path, None)

    assert recipients.find(Address("b", "example.org")) == Unknown("no such user")
    assert [step.question for step in recipients.explain(Address("b", "example.org"))] == ["source"]


def test_an_explanation_names_the_groups(tmp_path: Path):
    *_, last = owned(tmp_path, MailboxOwner(1001, 1002), groups=("mail",)).explain(A)

    assert last.answer == "uid 1001, gid 1002, group mail, named by the source"


@pytest.mark.parametrize(
    "owner, answer",
    [
        (MailboxOwner(1001, 1002), "uid 1001, gid 1002, named by the source"),
        (MailboxOwner(9, 9), "none: {}/a belongs to uid 9, gid 9: below owners.first_uid, 1000"),
    ],
)
def test_an_explanation_ends_with_the_rights(tmp_path: Path, owner: MailboxOwner, answer: str):
    *_, last = owned(tmp_path, owner).explain(A)

    assert (last.question, last.answer) == ("rights", answer.format(tmp_path))


class Several(OneUser):
    """A source with an alias for two users."""

    def find(self, address: Address) -> Mailbox | Aliases | Unknown:  # type: ignore[override]  # also aliases
        if address.local == "all":
            return Aliases((A, Address("b", "example.org")))
        number = {"a": 1001, "b": self.second}.get(address.local, 0)
        mailbox = replace(self.mailbox, address=str(address), owner=MailboxOwner(number, number))
        return replace(mailbox, maildir=MaildirPath(mailbox.maildir.root, (address.local,)))

    second = 1002


def test_every_mailbox_of_an_alias_has_its_owners_rights(tmp_path: Path):
    directory = Directory([Several(tmp_path, None)], postmaster=A)

    found = OwnedRecipients(directory, Disk(), OwnerRules(1000)).find(Address("all", "example.org"))

    assert isinstance(found, Mailboxes)
    assert [each.maildir.rights for each in found.mailboxes] == [Rights(1001, 1001), Rights(1002, 1002)]


def test_one_mailbox_that_must_not_be_delivered_to_defers_the_alias(tmp_path: Path):
    source = Several(tmp_path, None)
    source.second = 0
    recipients = OwnedRecipients(Directory([source], postmaster=A), Disk(), OwnerRules(1000))

    found = recipients.find(Address("all", "example.org"))
    steps = [step.answer for step in recipients.explain(Address("all", "example.org"))]

    assert isinstance(found, Unavailable)
    assert "root's rights" in found.reason
    assert "root's rights" in steps[-1]
