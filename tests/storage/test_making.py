import os
import pwd
from stat import S_IMODE

import pytest

from storage.disk import Disk
from storage.errors import MailboxUnusable
from storage.folders import Layout
from storage.maildir import MaildirPath
from storage.making import OwnerIds, make_folder, make_parts, make_way
from tests.support.requirements import need
from tests.support.scripting import new_maildir, opened

ME = OwnerIds(os.getuid(), os.getgid())


@pytest.mark.parametrize(
    "text, ids",
    [("root", (0, 0)), ("root:mail", (0, 8)), ("0:0", (0, 0)), ("4711:12", (4711, 12)), ("mail", (8, 8))],
)
def test_owners_as_chown_has_them(text, ids):
    assert pwd.getpwnam("mail").pw_uid == 8  # Debian's
    assert OwnerIds.parse(text) == OwnerIds(*ids)


@pytest.mark.parametrize(
    "text, message",
    [
        ("nobody-of-that-name", "no user"),
        ("root:no-such-group", "no group"),
        ("4294967290", "give the group"),
    ],
)
def test_owners_that_are_none(text, message):
    with pytest.raises(ValueError, match=message):
        OwnerIds.parse(text)


def test_the_owner_of_the_nearest_directory(tmp_path):
    assert OwnerIds.of_parent(str(tmp_path / "a/b/c")) == ME


def test_the_whole_way_is_made_once(tmp_path):
    where = MaildirPath(str(tmp_path), ("example.org", "bob"))

    assert len(list(make_way(Disk(), where, ME, 0o2750))) == 2
    assert list(make_way(Disk(), where, ME, 0o700)) == []

    assert S_IMODE((tmp_path / "example.org").stat().st_mode) == 0o700
    assert S_IMODE((tmp_path / "example.org/bob").stat().st_mode) == 0o2750


def test_a_link_on_the_way_is_refused(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")

    with pytest.raises(OSError):
        list(make_way(Disk(), MaildirPath(str(tmp_path), ("link", "bob")), ME, 0o700))

    assert not list((tmp_path / "real").iterdir())


def test_a_full_maildir_of_another_is_refused(tmp_path):
    need("root")
    new_maildir(tmp_path / "bob")

    with pytest.raises(MailboxUnusable, match="belongs to user 0, not 8"):
        list(make_way(Disk(), MaildirPath(str(tmp_path), ("bob",)), OwnerIds(8, 8), 0o700))


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o777])
def test_modes_are_as_asked_whatever_the_umask(tmp_path, umask):
    before = os.umask(umask)
    try:
        made = make_parts(opened(tmp_path), 0o2770)
    finally:
        os.umask(before)

    assert made == ["tmp", "new", "cur"]
    assert {S_IMODE((tmp_path / part).stat().st_mode) for part in made} == {0o2770}


@pytest.mark.parametrize("layout, path", [(Layout.MAILDIRPP, ".A.B"), (Layout.FS, "A/B")])
def test_a_folder_is_completed_and_then_left(tmp_path, layout, path):
    maildir = new_maildir(tmp_path / "bob")
    (maildir / path / "new").mkdir(parents=True)

    assert make_folder(opened(maildir), layout, "A/B", 0o700)
    assert not make_folder(opened(maildir), layout, "A/B", 0o700)

    assert (maildir / path / "tmp").is_dir()
    assert (maildir / path / "maildirfolder").exists() == (layout is Layout.MAILDIRPP)


def test_the_inbox_is_no_folder(tmp_path):
    maildir = new_maildir(tmp_path / "bob")

    assert not make_folder(opened(maildir), Layout.MAILDIRPP, "INBOX", 0o700)
    assert not (maildir / "maildirfolder").exists()


def test_a_new_maildir_is_never_roots(tmp_path, monkeypatch):
    need("root")
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents[:3]:
        parent.chmod(0o755)
    (tmp_path / "mail").mkdir()
    os.chown(tmp_path / "mail", 8, 8)
    owners = []
    monkeypatch.setattr(os, "fchown", lambda fd, *_: owners.append(os.fstat(fd).st_uid))

    list(make_way(Disk(), MaildirPath(str(tmp_path / "mail"), ("a", "b")), OwnerIds(8, 8), 0o700))

    assert owners == [8, 8]
