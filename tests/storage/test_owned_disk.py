"""Each owner's disk, and the server's own, with which nothing in a mailbox can be changed."""

import errno
import os
from pathlib import Path

import pytest

from storage.directory import Directory
from storage.disk import Disk
from storage.errors import MailboxUnusable
from storage.maildir import MaildirPath
from storage.owned_disk import NOBODY, OwnedDisk, OwnersDisk
from storage.thread_rights import Rights
from tests.support.postfix import public_folder
from tests.support.requirements import need
from tests.support.storing import maildirs_on

FIRST, SECOND = Rights(71001, 71001), Rights(71002, 71002)


@pytest.fixture
def root():
    need("root")
    with public_folder("disk") as folder:
        for rights in (FIRST, SECOND):
            path = folder / str(rights.uid)
            path.mkdir()
            path.chmod(0o700)
            os.chown(path, rights.uid, rights.gid)
        yield folder


def where(root: Path, rights: Rights | None, *, of: Rights = FIRST) -> MaildirPath:
    return MaildirPath(str(root), (str(of.uid),), rights)


def test_what_an_owner_makes_is_his(root: Path):
    maildirs = maildirs_on(OwnersDisk())
    maildir = maildirs.open(where(root, FIRST), create=False)
    with maildir.stage() as staged:
        staged.write(b"x")
        staged.sync()
        staged.publish("final")

    assert {path.lstat().st_uid for path in root.joinpath("71001").rglob("*")} == {71001}
    assert len(list(root.joinpath("71001").rglob("*"))) == 4


def test_nobody_gets_into_another_ones_mailbox(root: Path):
    maildirs = maildirs_on(OwnersDisk())
    maildirs.open(where(root, FIRST), create=False)

    with pytest.raises(MailboxUnusable, match="Permission denied"):
        maildirs.open(where(root, SECOND), create=False)


def test_a_maildir_that_is_open_is_not_given_to_who_comes_with_other_rights(root: Path):
    maildirs = maildirs_on(OwnersDisk())
    first = maildirs.open(where(root, FIRST), create=False)
    for path in (root / "71001", *root.joinpath("71001").rglob("*")):
        os.chown(path, SECOND.uid, SECOND.gid)

    second = maildirs.open(where(root, SECOND), create=False)

    assert second is not first
    with pytest.raises(MailboxUnusable):
        first.stage()
    with second.stage():
        pass


def test_maildirs_of_different_owners_are_no_kin(root: Path):
    maildirs = maildirs_on(OwnersDisk())
    path = root / "71001"
    first = maildirs.open(where(root, FIRST), create=False)
    for each in (path / "new", path / "tmp"):
        os.chown(each, FIRST.uid, SECOND.gid)
    other_group = maildirs_on(OwnersDisk()).open(where(root, FIRST), create=False)
    second = maildirs.open(where(root, SECOND, of=SECOND), create=False)

    assert len({first.kin, other_group.kin, second.kin}) == 3


def test_what_lies_below_a_mailbox_is_reached_with_its_owners_rights(root: Path):
    assert where(root, FIRST).below((".A",)) == MaildirPath(str(root), ("71001", ".A"), FIRST)


def test_a_mailbox_without_an_owner_is_not_opened(root: Path):
    with pytest.raises(MailboxUnusable, match="not known whose mailbox"):
        maildirs_on(OwnersDisk()).open(where(root, None), create=False)


def test_the_servers_own_disk_looks_as_root_and_does_all_else_as_nobody(root: Path):
    disk = OwnersDisk()
    folder = Directory(disk, disk.open_directory("71001", dir_fd=disk.open_path(str(root))))

    assert disk.status(str(root / "71001")).st_uid == 71001
    assert disk.list_names(folder.fd) == []
    for call in (
        lambda: disk.create("f", dir_fd=folder.fd),
        lambda: disk.make_directory("d", 0o700, dir_fd=folder.fd),
        lambda: disk.unlink("f", dir_fd=folder.fd),
        lambda: disk.link("f", "g", src_dir_fd=folder.fd, dst_dir_fd=folder.fd),
        lambda: disk.rename_exclusive("f", "g", src_dir_fd=folder.fd, dst_dir_fd=folder.fd),
        lambda: disk.replace("f", "g", dir_fd=folder.fd),
        lambda: disk.open_file("f", dir_fd=folder.fd),
        lambda: disk.open_to_append("f", dir_fd=folder.fd),
    ):
        with pytest.raises(PermissionError):
            call()


def test_from_one_owners_disk_nobody_gets_to_another_one():
    disk = OwnersDisk().acting_as(FIRST)

    assert disk.acting_as(FIRST) is disk
    for other in (SECOND, None):
        with pytest.raises(PermissionError) as caught:
            disk.acting_as(other)
        assert caught.value.errno == errno.EPERM


def test_an_owners_disk_is_made_once():
    disk = OwnersDisk()

    assert disk.acting_as(FIRST) is disk.acting_as(Rights(71001, 71001))


def test_one_user_who_owns_all_mailboxes_needs_no_other_disk():
    disk = Disk()

    assert disk.acting_as(FIRST) is disk
    assert disk.acting_as(None) is disk


def test_nobody_has_the_number_that_the_kernel_has_for_him():
    assert Path("/proc/sys/kernel/overflowuid").read_text().strip() == str(NOBODY.uid)


def test_every_call_that_names_or_takes_something_is_made_as_the_owner(root: Path):
    owned = OwnedDisk(FIRST)
    folder = owned.open_directory("71001", dir_fd=owned.open_path(str(root)))
    one = owned.create("one", dir_fd=folder)
    owned.write(one, b"hello")
    two = owned.create("two", dir_fd=folder)
    assert owned.copy_range(one, two, offset=0, octets=5) == 5
    owned.link("two", "three", src_dir_fd=folder, dst_dir_fd=folder)
    owned.rename_exclusive("three", "four", src_dir_fd=folder, dst_dir_fd=folder)
    owned.replace("four", "two", dir_fd=folder)
    assert owned.append(owned.open_to_append("two", dir_fd=folder), b" world") == 11
    assert owned.read(owned.open_file("two", dir_fd=folder), 99) == b"hello world"
    owned.make_directory("sub", 0o700, dir_fd=folder)
    assert owned.status("one", dir_fd=folder).st_uid == 71001
    owned.unlink("one", dir_fd=folder)

    assert sorted(owned.list_names(folder)) == ["four", "sub", "two"]
    assert {path.lstat().st_uid for path in (root / "71001").iterdir()} == {71001}
