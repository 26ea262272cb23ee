"""Messages as files, found again under other flags."""

import os

import pytest

from storage.errors import MailboxMissing, MailboxUnusable
from storage.messages import MessageFile, locate, messages, opened, pieces
from tests.support import scripting
from tests.support.scripting import new_maildir


@pytest.fixture
def maildir(tmp_path):
    return new_maildir(tmp_path / "box")


@pytest.fixture
def folder(maildir):
    return scripting.opened(maildir)


@pytest.mark.parametrize(
    "name, base, flags, saved_s, octets",
    [
        ("1764000000.M1P2.x,S=5,W=6:2,FSa", "1764000000.M1P2.x,S=5,W=6", "FSa", 1764000000, 5),
        ("1764000000.x:2,", "1764000000.x", "", 1764000000, None),
        ("x", "x", "", None, None),
        ("12.x,S=", "12.x,S=", "", None, None),
        ("99999999999.x,S=7", "99999999999.x,S=7", "", 99999999999, 7),
    ],
)
def test_names(name, base, flags, saved_s, octets):
    message = MessageFile("cur", name)

    assert (message.base, message.flags, message.saved_s, message.named_octets) == (
        base,
        flags,
        saved_s,
        octets,
    )


def test_other_flags_are_another_name():
    assert MessageFile("new", "1.x").with_flags("SFS") == MessageFile("cur", "1.x:2,FS")
    assert MessageFile("new", "1.x").with_flags("") == MessageFile("new", "1.x")
    assert MessageFile("cur", "1.x:2,S").with_flags("") == MessageFile("cur", "1.x:2,")


def test_only_files_are_messages(maildir, folder):
    (maildir / "new/1.x").write_bytes(b"")
    (maildir / "cur/2.x:2,S").write_bytes(b"")
    (maildir / "cur/.hidden").write_bytes(b"")
    (maildir / "cur/directory").mkdir()
    (maildir / "cur/link").symlink_to("2.x:2,S")
    os.mkfifo(maildir / "new/pipe")

    assert messages(folder) == {"1.x": MessageFile("new", "1.x"), "2.x": MessageFile("cur", "2.x:2,S")}


def test_a_message_is_found_under_other_flags(maildir, folder):
    (maildir / "new/1.x").write_bytes(b"content")
    known = messages(folder)["1.x"]
    (maildir / "new/1.x").rename(maildir / "cur/1.x:2,S")

    place, status = locate(folder, known)
    with opened(folder, known) as (same, fd):
        content = b"".join(pieces(fd))

    assert place == same == MessageFile("cur", "1.x:2,S")
    assert (status.st_size, content) == (7, b"content")


def test_what_has_gone_is_said(folder):
    for look in (locate, lambda *arguments: opened(*arguments).__enter__()):
        with pytest.raises(MailboxMissing, match=r"1\.x has gone"):
            look(folder, MessageFile("cur", "1.x:2,S"))


def test_what_is_renamed_for_ever_is_said(maildir, folder, monkeypatch):
    (maildir / "cur/1.x:2,").write_bytes(b"")
    monkeypatch.setattr("storage.messages._again", lambda _, base: MessageFile("cur", f"{base}:2,S"))

    for look in (locate, lambda *arguments: opened(*arguments).__enter__()):
        with pytest.raises(MailboxMissing, match="renamed again and again"):
            look(folder, MessageFile("cur", "1.x:2,F"))


def test_no_link_is_followed(maildir, folder, tmp_path):
    (tmp_path / "secret").write_bytes(b"secret")
    (maildir / "cur/1.x").symlink_to(tmp_path / "secret")
    os.mkfifo(maildir / "cur/2.x")

    with pytest.raises(OSError, match="symbolic links"), opened(folder, MessageFile("cur", "1.x")):
        pass
    with pytest.raises(MailboxUnusable, match="not a file"), opened(folder, MessageFile("cur", "2.x")):
        pass
    (maildir / "new").rmdir()
    (maildir / "new").symlink_to(maildir / "cur")
    with pytest.raises(OSError, match="Not a directory"):
        locate(folder, MessageFile("new", "2.x"))
