"""Archives that appear when they are whole."""

import os
import tarfile
from hashlib import sha256

import pytest

from storage.archives import SUMS, Corrupt, EmlTree, MboxArchive, MboxTree, Output, TarArchive
from storage.folders import Layout
from storage.listing import INBOX, Folder
from storage.messages import MessageFile
from storage.outgoing import Choice, Outgoing, chosen_folders, header_values, outgoing
from tests.support.arrivals import WHEN, put
from tests.support.scripting import new_maildir, opened, tree

TOP = Folder(INBOX, ())


def message(content: bytes = b"Subject: x\n\n", folder: Folder = TOP, name: str = "1.x:2,S") -> Outgoing:
    return Outgoing(folder, MessageFile("cur", name), content, (), WHEN * 10**9 + 5)


def test_a_file_appears_when_it_is_whole(tmp_path):
    output = Output(str(tmp_path / "out"))
    output.write(b"content")
    assert os.listdir(tmp_path) == ["out.part"]

    written = output.finish(mtime_s=WHEN)
    output.close()

    assert (written.octets, written.is_verified) == (7, True)
    assert (tmp_path / "out").read_bytes() == b"content"
    assert (tmp_path / "out").stat().st_mtime == WHEN
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("make", [MboxArchive, TarArchive])
def test_what_is_not_finished_leaves_nothing(tmp_path, make):
    archive = make(str(tmp_path / "out"))
    archive.begin(TOP, {})
    archive.add(message())
    archive.close()

    assert os.listdir(tmp_path) == []


def test_trees_leave_whole_files_only(tmp_path):
    boxes = MboxTree(str(tmp_path / "boxes"))
    boxes.begin(TOP, {})
    boxes.add(message())
    boxes.close()
    files = EmlTree(str(tmp_path / "files"))
    files.add(message())
    files.close()

    assert [path.name for path in (tmp_path / "boxes").rglob("*")] == []
    assert [path.suffix for path in (tmp_path / "files").rglob("*")] == [".eml"]


def test_standard_output_is_not_read_back(tmp_path, capfdbinary):
    archive = MboxArchive("-")
    archive.begin(TOP, {})
    archive.add(message())
    (written,) = archive.finish()
    archive.close()

    out = capfdbinary.readouterr().out
    assert (written.path, written.octets, written.is_verified) == ("-", len(out), False)
    assert written.sha256 == sha256(out).hexdigest()


def test_each_folder_has_its_mbox(tmp_path):
    archive = MboxTree(str(tmp_path / "out"))
    for folder in (TOP, Folder("A/B", (".A.B",))):
        archive.begin(folder, {})
        archive.add(message(folder=folder))
    written = [each.path for each in archive.finish()]
    archive.close()

    assert written == [f"{tmp_path}/out/INBOX.mbox", f"{tmp_path}/out/A/B.mbox"]


def test_what_is_read_back_otherwise_is_corrupt(tmp_path, monkeypatch):
    output = Output(str(tmp_path / "out"))
    output.write(b"content")
    monkeypatch.setattr("storage.archives.os.posix_fadvise", lambda fd, *_: os.pwrite(fd, b"C", 0))

    with pytest.raises(Corrupt, match="what was read back is not what was written"):
        output.finish()
    output.close()

    assert os.listdir(tmp_path) == []


def test_copies_have_files_of_their_own(tmp_path):
    archive = EmlTree(str(tmp_path / "out"))
    for folder in (TOP, TOP, Folder("A/..", (".A",)), Folder("long" * 100, ("x",))):
        archive.begin(folder, {})
        archive.add(message(folder=folder))
    (written,) = archive.finish()

    names = sorted(path for path, content in tree(tmp_path / "out").items() if content is not None)
    assert len(names) == 5
    assert names[-1] != SUMS
    assert written.path.endswith(SUMS)
    assert sum(name.endswith("-2.eml") for name in names) == 1
    assert any(name.startswith("A/_/") for name in names)
    assert max(len(part) for name in names for part in name.split("/")) <= 255


def test_keywords_are_in_the_tar(tmp_path):
    archive = TarArchive(str(tmp_path / "out"))
    archive.begin(Folder("A/B", ("A", "B")), {"b": "work"})
    list(archive.finish())
    archive.close()

    with tarfile.open(tmp_path / "out") as tar:
        assert tar.getnames() == ["A", "A/B", "A/B/new", "A/B/cur", "A/B/tmp", "A/B/dovecot-keywords"]
        member = tar.extractfile("A/B/dovecot-keywords")
        assert member is not None
        assert member.read() == b"1 work\n"


@pytest.mark.parametrize(
    "content, sender",
    [
        (b"Return-Path: <a@b>\n\n", b"a@b"),
        (b"X: y\nreturn-path :\n <a@b>\n\n", b"a@b"),
        (b"Return-Path: <>\n\n", b""),
        (b"\nReturn-Path: <a@b>\n", b""),
    ],
)
def test_senders(content, sender):
    assert message(content).sender == sender


def test_header_values_are_unfolded():
    assert header_values(b"A: b\r\n\tc\r\nB: d\na:e\n\nA: f\n", b"a") == [b" b\tc", b"e"]


@pytest.mark.parametrize(
    "choice, fits",
    [
        (Choice(), True),
        (Choice(since_s=WHEN), True),
        (Choice(since_s=WHEN + 1), False),
        (Choice(before_s=WHEN), False),
        (Choice(before_s=WHEN + 1), True),
        (Choice(flags=frozenset("S")), True),
        (Choice(flags=frozenset("SF")), False),
        (Choice(without=frozenset("S")), False),
        (Choice(headers=[("subject", "X")]), True),
        (Choice(headers=[("subject", "X"), ("to", "")]), False),
        (Choice(headers=[("sübject", "X")]), False),
    ],
)
def test_choice(choice, fits):
    assert choice.fits(message()) is fits


@pytest.mark.parametrize("value", [b"=?nonsense?q?x?=", b"=?utf-8?b?x?=", b"\xff", b"=?utf-8?q?=ff?="])
def test_headers_that_cannot_be_decoded_are_taken_as_they_stand(value):
    assert not Choice(headers=[("subject", "never")]).fits(message(b"Subject: " + value + b"\n\n"))


def test_folders_and_messages_have_an_order(tmp_path):
    maildir = new_maildir(tmp_path / "box", ".b", ".a", ".a.c")
    for name in ("cur/2.x:2,S", "new/1.x", "cur/3.x:2,"):
        put(maildir, name, name.encode())
    directory = opened(maildir)

    folders = chosen_folders(directory, Layout.MAILDIRPP, Choice(folders=["a*", "INBOX"]))

    assert [folder.name for folder in folders] == ["INBOX", "a", "a/c"]
    assert [each.content for each in outgoing(directory, folders[0], Choice(flags=frozenset("S")))] == [
        b"cur/2.x:2,S"
    ]
    assert [each.content for each in outgoing(directory, folders[0], Choice())] == [
        b"new/1.x", b"cur/2.x:2,S", b"cur/3.x:2,"
    ]  # fmt: skip


def test_what_is_deleted_meanwhile_is_left_out(tmp_path):
    maildir = new_maildir(tmp_path / "box")
    put(maildir, "cur/1.x:2,S", b"1")
    put(maildir, "cur/2.x:2,S", b"2")
    read = outgoing(opened(maildir), TOP, Choice())

    assert next(read).content == b"1"
    (maildir / "cur/2.x:2,S").unlink()

    assert list(read) == []
