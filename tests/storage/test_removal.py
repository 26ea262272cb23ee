import os

import pytest

from storage import removal
from storage.removal import NotEmpty, remove_folder
from tests.support.scripting import new_maildir, opened


@pytest.fixture
def maildir(tmp_path):
    path = new_maildir(tmp_path / "bob", ".A")
    for name in ("dovecot-uidlist", "dovecot.index.log", "maildirfolder", "dovecot-keywords"):
        (path / ".A" / name).write_text("3 V1 N1\n")
    return path


def test_an_empty_folder_goes_with_what_mail_servers_keep_in_it(maildir):
    remove_folder(opened(maildir), ".A")

    assert sorted(os.listdir(maildir)) == ["cur", "new", "tmp"]


@pytest.mark.parametrize("path", ["new/x", "cur/x:2,S", "tmp/x"])
def test_a_message_keeps_its_folder_as_it_was(maildir, path):
    (maildir / ".A" / path).touch()
    before = sorted(str(each) for each in maildir.rglob("*"))

    with pytest.raises(NotEmpty, match="mail in it"):
        remove_folder(opened(maildir), ".A")

    assert sorted(str(each) for each in maildir.rglob("*")) == before


def test_what_nobody_knows_keeps_its_folder(maildir):
    (maildir / ".A/notes").touch()

    with pytest.raises(NotEmpty, match="'notes'"):
        remove_folder(opened(maildir), ".A")

    assert (maildir / ".A/tmp").is_dir()


def test_a_delivery_that_begins_meanwhile_keeps_the_folder(maildir, monkeypatch):
    known = removal.is_known

    def with_a_delivery(name):
        if name == "maildirfolder" and not (maildir / ".A/tmp").exists():
            new_maildir(maildir / ".A")  # lmtpd makes what is missing
            (maildir / ".A/new/x").touch()
        return known(name)

    monkeypatch.setattr(removal, "is_known", with_a_delivery)

    with pytest.raises(NotEmpty, match="arrived"):
        remove_folder(opened(maildir), ".A")

    assert (maildir / ".A/new/x").exists()


def test_a_link_is_not_a_folder(maildir, tmp_path):
    new_maildir(tmp_path / "other")
    (maildir / ".B").symlink_to(tmp_path / "other")

    with pytest.raises(OSError):
        remove_folder(opened(maildir), ".B")

    assert (tmp_path / "other/cur").is_dir()
