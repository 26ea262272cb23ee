import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmtpd.protocol.addresses import Address
from lmtpd.recipients.mailbox import Mailbox, Unavailable, Unknown
from lmtpd.recipients.maildirs import Detail, MaildirSource
from lmtpd.recipients.naming import safe_component
from storage.disk import Disk
from storage.folders import Layout, folder_parts
from tests.support.recipients import source


def folder_of(root: Path, local: str, **changes: Any) -> str | None:
    found = source(root, **changes).find(Address(local, "example.org"))
    assert isinstance(found, Mailbox)
    return found.folder


def test_the_template_decides_the_path(root: Path):
    found = source(root).find(Address("alice", "example.org"))

    assert isinstance(found, Mailbox)
    assert found.maildir.root == str(root)
    assert found.maildir.parts == ("example.org", "alice")
    assert found.maildir.path == f"{root}/example.org/alice"
    assert found.address == "alice@example.org"
    assert found.folder is None


def test_a_missing_maildir_is_an_unknown_user(root: Path):
    assert isinstance(source(root).find(Address("bob", "example.org")), Unknown)
    assert isinstance(source(root).find(Address("alice", "other.org")), Unknown)


def test_create_makes_every_safe_name_known(root: Path):
    found = source(root, create=True).find(Address("bob", "other.org"))

    assert isinstance(found, Mailbox)
    assert found.create


def test_a_missing_or_empty_root_is_not_a_bounce(tmp_path: Path):
    (tmp_path / "empty/lost+found").mkdir(parents=True)

    for name in ("gone", "empty"):
        found = source(tmp_path / name).find(Address("alice", "example.org"))
        assert isinstance(found, Unavailable), name


def test_a_file_or_link_in_place_of_a_maildir_is_not_a_bounce(root: Path):
    (root / "example.org/file").write_text("")
    (root / "example.org/link").symlink_to(root / "example.org/alice")
    (root / "example.org/dangling").symlink_to("nowhere")

    for name in ("file", "link", "dangling"):
        assert isinstance(source(root).find(Address(name, "example.org")), Unavailable), name


def test_an_unreadable_parent_is_not_a_bounce(root: Path):
    class Denied(Disk):
        def status(self, name: str, *, dir_fd: int | None = None) -> os.stat_result:
            raise PermissionError(13, "Permission denied", name)

    rules = source(root)._rules

    assert isinstance(MaildirSource(Denied(), rules).find(Address("alice", "example.org")), Unavailable)


class Failing(Disk):
    """A disk on which one call fails."""

    def __init__(self, call: str) -> None:
        self._call = call

    def _strike(self, call: str) -> None:
        if call == self._call:
            raise OSError(5, "Input/output error")

    def open_directory(self, name: str, *, dir_fd: int | None = None, follow: bool = False) -> int:
        self._strike("open_directory")
        return super().open_directory(name, dir_fd=dir_fd, follow=follow)

    def list_names(self, fd: int, *, at_most: int | None = None) -> list[str]:
        self._strike("list_names")
        return super().list_names(fd, at_most=at_most)


@pytest.mark.parametrize("call", ["open_directory", "list_names"])
@pytest.mark.parametrize("local", ["bob", "alice+x"])
def test_a_disk_in_trouble_is_not_a_bounce(root: Path, call: str, local: str):
    failing = MaildirSource(Failing(call), source(root)._rules)

    assert isinstance(failing.find(Address(local, "example.org")), Unavailable)


@pytest.mark.parametrize("local", ["ALICE", "Alice", "aLiCe"])
def test_case_is_folded_unless_told_otherwise(root: Path, local: str):
    folded = source(root).find(Address(local, "example.org"))

    assert isinstance(folded, Mailbox)
    assert folded.user == "alice"
    assert isinstance(source(root, fold_case=False).find(Address(local, "example.org")), Unknown)


def test_composed_and_decomposed_names_are_one_mailbox(root: Path):
    found = {
        source(root, create=True).find(Address(name, "example.org")) for name in ("jos\u00e9", "jose\u0301")
    }

    assert len(found) == 1


UNSAFE = [
    "",
    ".",
    "..",
    ".hidden",
    "a/b",
    "/etc",
    "../x",
    "a\0b",
    "a\nb",
    "a\x7fb",
    "a\u2028b",
    "x" * 256,
    "\u00e9" * 128,
]


@pytest.mark.parametrize("local", UNSAFE)
def test_names_that_no_path_can_be_made_of_are_unknown_users(root: Path, local: str):
    for create in (False, True):
        assert isinstance(source(root, create=create).find(Address(local, "example.org")), Unknown)


@pytest.mark.parametrize("name", ["x" * 255, "a b", "%2f", "-rf", "a..b", "~", "$(id)", "\u00e9" * 127])
def test_odd_but_harmless_names_are_names(root: Path, name: str):
    found = source(root, create=True).find(Address(name, "example.org"))

    assert isinstance(found, Mailbox)
    assert found.maildir.parts == ("example.org", name)


def test_what_stands_around_a_placeholder_counts_for_its_length(root: Path):
    near = source(root, "u-{user}-x", create=True)

    assert isinstance(near.find(Address("y" * 251, "example.org")), Mailbox)
    assert isinstance(near.find(Address("y" * 252, "example.org")), Unknown)


@given(st.text(max_size=300), st.text(max_size=300))
def test_whatever_the_address_the_maildir_is_directly_below_the_root(local: str, domain: str):
    found = source(Path("/srv/mail"), create=True).find(Address(local, domain))

    if isinstance(found, Mailbox):
        assert all(safe_component(part) for part in found.maildir.parts)
        assert len(found.maildir.parts) == 2
        assert os.path.normpath(found.maildir.path) == found.maildir.path
        assert os.path.dirname(os.path.dirname(found.maildir.path)) == "/srv/mail"


@given(st.text(max_size=60))
def test_a_detail_never_leaves_the_maildir(detail: str):
    for layout in Layout:
        found = source(Path("/srv/mail"), create=True, layout=layout, detail=Detail.CREATE).find(
            Address("nobody+" + detail, "example.org")
        )
        if isinstance(found, Mailbox) and found.folder is not None:
            parts = folder_parts(layout, found.folder)
            assert all("/" not in part and part not in ("", ".", "..") for part in parts)


def test_detail_existing_names_a_folder_that_is_there(root: Path):
    (root / "example.org/alice/.lists.python").mkdir()

    assert folder_of(root, "alice+lists.python") == "lists/python"
    assert folder_of(root, "alice+Lists.Python") == "lists/python"
    assert folder_of(root, "alice+other") is None
    assert folder_of(root, "alice+inbox") is None
    assert folder_of(root, "alice+") is None
    assert folder_of(root, "alice+lists.python", detail=Detail.INBOX) is None


def test_detail_create_names_any_safe_folder(root: Path):
    assert folder_of(root, "alice+new.deep", detail=Detail.CREATE) == "new/deep"
    assert folder_of(root, "alice+../x", detail=Detail.CREATE) is None
    assert folder_of(root, "alice+INBOX", detail=Detail.CREATE) is None


def test_fs_layout_folders(root: Path):
    (root / "example.org/alice/lists/python").mkdir(parents=True)

    assert folder_of(root, "alice+lists.python", layout=Layout.FS) == "lists/python"
    assert folder_of(root, "alice+cur", layout=Layout.FS) is None


def test_detail_belongs_to_the_address_not_to_the_user(root: Path):
    found = source(root).find(Address("alice+Shop", "example.org"))

    assert isinstance(found, Mailbox)
    assert (found.user, found.address) == ("alice", "alice+Shop@example.org")


def test_a_template_may_use_the_detail_itself(root: Path):
    own = source(root, "{domain}/{user}/{detail}", create=True)

    with_detail = own.find(Address("alice+x", "example.org"))
    without = own.find(Address("alice", "example.org"))

    assert isinstance(with_detail, Mailbox)
    assert isinstance(without, Mailbox)
    assert with_detail.maildir.parts == ("example.org", "alice", "x")
    assert with_detail.folder is None
    assert without.maildir.parts == ("example.org", "alice")
    assert isinstance(own.find(Address("alice+../../x", "example.org")), Unknown)


def test_a_template_without_domain_serves_every_domain(root: Path):
    (root / "carol").mkdir()

    for domain in ("a.org", "b.org", ""):
        assert isinstance(source(root, "{user}").find(Address("carol", domain)), Mailbox)
