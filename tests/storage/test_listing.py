import pytest

from storage.folders import LEVELS, Layout
from storage.listing import Folder, enter_folder, entries, folders
from tests.support.scripting import new_maildir, opened


def listed(path, layout=Layout.MAILDIRPP):
    return list(folders(opened(path), layout))


def test_folders_of_maildirpp(tmp_path):
    maildir = new_maildir(tmp_path / "bob", ".B", ".A.B", ".&AMQ-", ".Ä", "..DOVECOT-TRASHED", "C")
    (maildir / ".sieve").mkdir()
    (maildir / ".file").touch()
    (maildir / ".half/new").mkdir(parents=True)
    (maildir / ".link").symlink_to(tmp_path)

    assert listed(maildir) == [
        Folder("INBOX", ()),
        Folder("Ä", (".&AMQ-",)),
        Folder("A/B", (".A.B",)),
        Folder("B", (".B",)),
        Folder("half", (".half",)),
        Folder("Ä", (".Ä",)),
    ]


def test_folders_of_fs(tmp_path):
    maildir = new_maildir(tmp_path / "bob", "B", "A/B", "Ä", ".hidden", "A&B")
    (maildir / "link").symlink_to(tmp_path)

    assert listed(maildir, Layout.FS) == [
        Folder("INBOX", ()),
        Folder("A/B", ("A", "B")),
        Folder("A&B", ("A&B",)),
        Folder("B", ("B",)),
        Folder("Ä", ("Ä",)),
    ]


def test_a_name_that_nobody_would_give(tmp_path):
    maildir = new_maildir(tmp_path / "bob", ".A..B", ".x\ny")

    assert [(folder.name, folder.is_canonical) for folder in listed(maildir)] == [
        ("INBOX", True),
        (".A..B", False),
        (".x\ny", False),
    ]


def test_a_tree_without_end_has_an_end(tmp_path):
    maildir = new_maildir(tmp_path / "bob", "/".join("x" * (LEVELS + 1)), "/".join("y" * LEVELS))

    assert [folder.name for folder in listed(maildir, Layout.FS)] == ["INBOX", "/".join("y" * LEVELS)]


def test_entries_are_those_of_one_directory(tmp_path):
    maildir = new_maildir(tmp_path / "bob", ".A")
    (maildir / ".A/cur/x").write_text("hello")
    folder = enter_folder(opened(maildir), Folder("A", (".A",)))

    found = [(entry.name, entry.stat(follow_symlinks=False).st_size) for entry in entries(folder, "cur")]

    assert found == [("x", 5)]
    assert list(entries(folder, "new")) == []


def test_a_directory_that_is_missing_holds_nothing(tmp_path):
    assert list(entries(opened(tmp_path), "new")) == []


@pytest.mark.parametrize("kind", ["link", "file"])
def test_what_is_no_directory_is_an_error(tmp_path, kind):
    if kind == "link":
        (tmp_path / "new").symlink_to(tmp_path)
    else:
        (tmp_path / "new").touch()

    with pytest.raises(OSError):
        list(entries(opened(tmp_path), "new"))


def test_no_link_is_followed_into_a_folder(tmp_path):
    maildir = new_maildir(tmp_path / "bob")
    new_maildir(tmp_path / "other")
    (maildir / ".A").symlink_to(tmp_path / "other")

    with pytest.raises(OSError):
        enter_folder(opened(maildir), Folder("A", (".A",)))
