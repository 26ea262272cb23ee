"""What a folder holds, by content."""

from hashlib import sha256

from storage.contents import Contents, digest_of
from storage.messages import MessageFile
from tests.support.scripting import new_maildir, opened


def test_copies_are_counted(tmp_path):
    maildir = new_maildir(tmp_path / "box")
    (maildir / "new/1.x").write_bytes(b"one")
    (maildir / "cur/2.x:2,S").write_bytes(b"one")
    (maildir / "cur/3.x:2,S").write_bytes(b"two")
    contents = Contents(opened(maildir))

    assert [contents.copies(each) for each in (b"one", b"two", b"six", b"seven")] == [2, 1, 0, 0]
    contents.add(b"two")
    contents.add(b"eight")
    assert [contents.copies(each) for each in (b"one", b"two", b"eight")] == [2, 2, 1]


def test_only_what_has_the_size_is_read(tmp_path):
    maildir = new_maildir(tmp_path / "box")
    (maildir / "cur/1.x:2,S").write_bytes(b"one")
    (maildir / "cur/2.x:2,S").write_bytes(b"three")
    contents = Contents(opened(maildir))
    (maildir / "cur/2.x:2,S").write_bytes(b"changed")

    assert contents.copies(b"one") == 1
    assert contents.copies(b"other") == 0


def test_what_goes_meanwhile_is_not_there(tmp_path):
    maildir = new_maildir(tmp_path / "box")
    (maildir / "cur/1.x:2,S").write_bytes(b"one")
    contents = Contents(opened(maildir))
    (maildir / "cur/1.x:2,S").unlink()

    assert contents.copies(b"one") == 0


def test_a_folder_that_is_not_there_holds_nothing():
    contents = Contents(None)
    assert contents.copies(b"one") == 0
    contents.add(b"one")
    assert contents.copies(b"one") == 1


def test_digest_follows_a_rename(tmp_path):
    maildir = new_maildir(tmp_path / "box")
    (maildir / "cur/1.x:2,S").write_bytes(b"one")

    assert digest_of(opened(maildir), MessageFile("new", "1.x")) == sha256(b"one").digest()
