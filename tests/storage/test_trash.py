"""The scripts' trash: in and back by one rename each."""

import os

import pytest

from storage.folders import Layout
from storage.listing import INBOX, Folder, folders
from storage.messages import MessageFile, messages
from storage.trash import TOPS, Batch, Fate, Trash
from tests.support.arrivals import put
from tests.support.scripting import new_maildir, opened, tree

NOW = 1_795_514_400
TOP = Folder(INBOX, ())


@pytest.fixture
def maildir(tmp_path):
    maildir = new_maildir(tmp_path / "box", ".A.B")
    put(maildir, "new/1.x", b"1")
    put(maildir, "cur/2.x:2,FS", b"22")
    put(maildir, ".A.B/cur/3.x:2,", b"333")
    return maildir


@pytest.fixture
def trash(maildir):
    return Trash(opened(maildir), Layout.MAILDIRPP)


def everything(maildir, folder):
    return list(messages(opened(maildir.joinpath(*folder.parts))).values())


def test_there_and_back(maildir, trash):
    before, batch = tree(maildir), Batch.new("expire", NOW)
    dates = {path: path.stat().st_mtime_ns for path in maildir.rglob("*.x*")}
    for folder, count in ((TOP, 2), (Folder("A/B", (".A.B",)), 1)):
        assert len(list(trash.put(batch, folder, everything(maildir, folder)))) == count
    assert not list((maildir / "cur").iterdir())
    assert not list((maildir / ".A.B/cur").iterdir())
    assert [folder.name for folder in folders(opened(maildir), Layout.MAILDIRPP)] == ["INBOX", "A/B"]

    back = list(trash.take_back(batch))

    assert sorted((each.folder, each.message.name, each.octets) for each in back) == [
        ("A/B", "3.x:2,", 3), ("INBOX", "1.x", 1), ("INBOX", "2.x:2,FS", 2)
    ]  # fmt: skip
    assert tree(maildir) == before
    assert {path: path.stat().st_mtime_ns for path in maildir.rglob("*.x*")} == dates


def test_batches_are_told_by_script_and_age(maildir, trash):
    old, new, other = Batch.new("expire", NOW), Batch.new("expire", NOW + 5), Batch.new("dedup", NOW)
    for batch, name in ((new, "1.x"), (old, "2.x:2,FS")):
        list(trash.put(batch, TOP, [messages(opened(maildir))[name[:3]]]))
    list(trash.put(other, Folder("A/B", (".A.B",)), [MessageFile("cur", "3.x:2,")]))
    (maildir.joinpath(*TOPS[Layout.MAILDIRPP], "something")).mkdir()

    assert trash.batches("expire") == [old, new]
    assert trash.batches("dedup") == [other]
    assert trash.batches("none") == []


@pytest.mark.parametrize(
    "name", ["", "x", "20261332T000000Z-expire-00000000", "20261124T100000Z-expire-0", "../x"]
)
def test_what_is_no_batch(name):
    assert Batch.parse(name) is None


def test_a_batch_is_read_back():
    batch = Batch.new("dedup", NOW)
    assert Batch.parse(batch.name) == batch
    assert batch.name.startswith("20261124T100000Z-dedup-")


def test_a_message_that_was_renamed_or_deleted_meanwhile(maildir, trash):
    known = everything(maildir, TOP)
    (maildir / "new/1.x").rename(maildir / "cur/1.x:2,S")
    (maildir / "cur/2.x:2,FS").unlink()
    batch = Batch.new("expire", NOW)

    gone = list(trash.put(batch, TOP, known))

    assert gone == [(MessageFile("cur", "1.x:2,S"), 1)]
    assert (maildir / "lmtpd-trash" / batch.name / "INBOX/cur/1.x:2,S").read_bytes() == b"1"


def test_purged_is_gone(maildir, trash):
    batch = Batch.new("expire", NOW)
    list(trash.put(batch, TOP, everything(maildir, TOP)))
    (maildir / "lmtpd-trash" / batch.name / "link").symlink_to(maildir)

    assert trash.purge(batch).octets >= 3

    assert not (maildir / "lmtpd-trash").exists()
    assert (maildir / ".A.B/cur/3.x:2,").exists()


def test_a_folder_that_was_deleted_is_there_again(maildir, trash):
    batch, folder = Batch.new("expire", NOW), Folder("A/B", (".A.B",))
    list(trash.put(batch, folder, everything(maildir, folder)))
    for part in ("cur", "new", "tmp"):
        (maildir / ".A.B" / part).rmdir()
    (maildir / ".A.B").rmdir()

    assert [each.fate for each in trash.take_back(batch)] == [Fate.BACK]

    assert sorted(os.listdir(maildir / ".A.B")) == ["cur", "new", "tmp"]


def test_a_name_that_is_taken_stays_in_the_trash(maildir, trash):
    batch = Batch.new("expire", NOW)
    list(trash.put(batch, TOP, everything(maildir, TOP)))
    put(maildir, "cur/2.x:2,", b"another")

    fates = {each.message.name: each.fate for each in trash.take_back(batch)}

    assert fates == {"1.x": Fate.BACK, "2.x:2,FS": Fate.TAKEN}
    assert (maildir / "cur/2.x:2,").read_bytes() == b"another"
    assert (maildir / "lmtpd-trash" / batch.name / "INBOX/cur/2.x:2,FS").exists()
    assert trash.batches("expire") == [batch]


def test_quota_is_told(maildir, trash):
    (maildir / "maildirsize").write_text("100S\n6 3\n")
    batch = Batch.new("expire", NOW)

    list(trash.put(batch, TOP, everything(maildir, TOP)))
    list(trash.take_back(batch))

    assert (maildir / "maildirsize").read_text() == "100S\n6 3\n-3 -2\n3 2\n"


def test_folders_in_each_other(tmp_path):
    maildir = new_maildir(tmp_path / "box", "A", "A/B")
    for path in ("", "A/", "A/B/"):
        put(maildir, f"{path}cur/1.x:2,S", b"1")
    before, batch = tree(maildir), Batch.new("expire", NOW)
    trash = Trash(opened(maildir), Layout.FS)
    for folder in (TOP, Folder("A", ("A",)), Folder("A/B", ("A", "B"))):
        assert list(trash.put(batch, folder, [MessageFile("cur", "1.x:2,S")]))
    assert [folder.name for folder in folders(opened(maildir), Layout.FS)] == ["INBOX", "A", "A/B"]
    assert (maildir / "cur/.lmtpd-trash").is_dir()

    assert len(list(trash.take_back(batch))) == 3

    assert tree(maildir) == before


def test_many_go_in_groups(maildir, trash, monkeypatch):
    monkeypatch.setattr("storage.trash.GROUP", 2)
    for number in range(5):
        put(maildir, f"cur/9{number}.x:2,", b"9")

    gone = list(trash.put(Batch.new("expire", NOW), TOP, everything(maildir, TOP)))

    assert len(gone) == 7


def test_no_link_is_followed(maildir, trash, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (maildir / "lmtpd-trash").symlink_to(outside)

    with pytest.raises(OSError, match="Not a directory"):
        list(trash.put(Batch.new("expire", NOW), TOP, everything(maildir, TOP)))

    assert list(outside.iterdir()) == []


def test_one_message_comes_back(maildir, trash):
    (maildir / "maildirsize").write_text("100S\n6 3\n")
    batch = Batch.new("dedup", NOW)
    ((first, _), (second, _)) = trash.put(batch, TOP, everything(maildir, TOP))

    trash.return_one(batch, TOP, first)

    assert (maildir / first.part / first.name).exists()
    assert not (maildir / second.part / second.name).exists()
    assert (maildir / "maildirsize").read_text().startswith("100S\n6 3\n-3 -2\n")
    assert [each.message for each in trash.take_back(batch)] == [second]


def test_without_a_trash_there_is_nothing_to_take_back(trash):
    assert trash.batches("expire") == []
    assert list(trash.put(Batch.new("expire", NOW), TOP, [])) == []
