"""Sources, told by their contents."""

import os
from contextlib import closing

import pytest

from storage.incoming import Beginning, Dates, Incoming, Reading, Source, Unreadable
from storage.mbox import Quoting
from tests.support.arrivals import MBOX, WHEN, put
from tests.support.scripting import new_maildir


def read(path, reading: Reading | None = None):
    with closing(Source.open(str(path))) as source:
        return list(source.read(reading or Reading()))


def mail(found):
    return [item for item in found if isinstance(item, Incoming)]


def strange(found):
    return {item.origin.rpartition("/")[2]: item.why for item in found if isinstance(item, Unreadable)}


def test_an_mbox(tmp_path):
    put(tmp_path, "box", MBOX)

    first, second = read(tmp_path / "box")

    assert (first.origin, first.folder, first.share) == (f"{tmp_path}/box, octet 0", "INBOX", 0.0)
    assert (first.content, first.flags, first.keywords) == (
        b"Subject: one\n\nFrom here\non\n",
        "FRS",
        ("$Junk", "work"),
    )
    assert second.arrived_ns == (WHEN + 1) * 10**9
    assert 0 < second.share < 1
    assert second.is_new


def test_quoting_is_as_told(tmp_path):
    put(tmp_path, "box", MBOX)

    first = mail(read(tmp_path / "box", Reading(quoting=Quoting.NONE)))[0]

    assert first.content == b"Subject: one\n\n>From here\non\n"


@pytest.mark.parametrize(
    "header, arrived_s",
    [
        (
            b"Received: a; Tue, 24 Nov 2026 10:00:00 +0000\nReceived: b; Mon, 1 Jan 2001 00:00:00 +0000\n",
            WHEN,
        ),
        (b"Received: without a date\nDate: Tue, 24 Nov 2026 11:00:00 +0100\n", WHEN),
        (b"Received: a; nonsense\nDate: Tue, 24 Nov 2026 10:00:00\n", WHEN),
        (b"Date: Tue, 24 Nov 1926 10:00:00 +0000\n", 0),
        (b"Date: Tue, 99 Nov 2026 10:00:00 +0000\n", 77),
        (b"X-Y: y\n", 77),
    ],
)
def test_when_a_single_message_arrived(tmp_path, header, arrived_s):
    put(tmp_path, "x.eml", header + b"\nDate: Tue, 24 Nov 2026 10:00:00 +0000\n", 77)

    (message,) = read(tmp_path / "x.eml")
    (by_file,) = read(tmp_path / "x.eml", Reading(dates=Dates.FILE))

    assert (message.arrived_ns // 10**9, by_file.arrived_ns // 10**9) == (arrived_s, 77)


def test_an_mbox_message_without_a_date_has_that_of_its_header_or_file(tmp_path):
    put(tmp_path, "box", b"From x Tue Nov 99 10:00:00 2026\nDate: Tue, 24 Nov 2026 10:00:00 GMT\n\n", 77)
    put(tmp_path, "none", b"From x Tue Nov 99 10:00:00 2026\nSubject: x\n\n", 77)

    assert [mail(read(tmp_path / name))[0].arrived_ns // 10**9 for name in ("box", "none")] == [WHEN, 77]


@pytest.mark.parametrize(
    "content",
    [
        b"\x7fELF",
        b"not mail",
        b"{ json: 1 }",
        b": x\n",
        b"root:x:0:0:root:/root:/bin/sh\nmail:x:8:8::/:\n",
        b"level: 1\n\nDate: x\n",
    ],
)
def test_other_files_are_said(tmp_path, content):
    put(tmp_path, "x.eml", content)

    assert strange(read(tmp_path / "x.eml")) == {"x.eml": "it does not begin as a message does"}


def test_an_empty_file_is_nothing_and_an_empty_mbox_in_a_tree_a_folder(tmp_path):
    put(tmp_path, "tree/Empty.mbox", b"")

    assert read(tmp_path / "tree/Empty.mbox") == []
    assert read(tmp_path / "tree") == [Beginning("Empty")]


def test_files_in_a_tree_that_are_no_mail_are_said(tmp_path):
    put(tmp_path, "tree/Sent.msf", b"// index")
    put(tmp_path, "tree/empty.eml", b"")

    assert strange(read(tmp_path / "tree")) == {"Sent.msf": "neither an mbox nor called .eml"}


def test_empty_lines_before_an_mbox(tmp_path):
    put(tmp_path, "x", b"\n\nnothing\n")
    put(tmp_path, "tree/y", b"\r\n\n" + MBOX)

    assert strange(read(tmp_path / "x")) == {"x": "it does not begin as a message does"}
    assert len(mail(read(tmp_path / "tree"))) == 2


def test_a_tree_has_its_files_before_its_directories(tmp_path):
    for name in ("b/1.eml", "a.mbx", "B.SBD/deep", "2.eml"):
        put(tmp_path, f"tree/{name}", MBOX)
    put(tmp_path, "tree/.hidden", MBOX)

    found = mail(read(tmp_path / "tree"))

    assert [item.folder for item in found][::2] == ["INBOX", "a", "B/deep", "b"]


def test_a_tree_that_is_too_deep_is_left(tmp_path):
    put(tmp_path, "tree/" + "d/" * 21 + "x.eml", MBOX)
    put(tmp_path, "tree/" + "e/" * 20 + "x.eml", MBOX)

    assert {item.folder.count("/") for item in mail(read(tmp_path / "tree"))} == {19}


def test_no_link_below_a_source_is_followed(tmp_path):
    put(tmp_path, "secret/1.eml", MBOX)
    put(tmp_path, "tree/x.eml", MBOX)
    (tmp_path / "tree/file.eml").symlink_to(tmp_path / "secret/1.eml")
    (tmp_path / "tree/directory").symlink_to(tmp_path / "secret")
    os.mkfifo(tmp_path / "tree/pipe.eml")

    found = read(tmp_path / "tree")

    assert len(mail(found)) == 2
    assert strange(found) == {
        "file.eml": "Too many levels of symbolic links",
        "directory": "Too many levels of symbolic links",
        "pipe.eml": "not a file",
    }
    # The path itself is the administrator's word.
    (tmp_path / "link").symlink_to(tmp_path / "tree")
    assert len(mail(read(tmp_path / "link"))) == 2


def test_a_maildir_in_parts_and_what_is_broken_in_it(tmp_path):
    source = new_maildir(tmp_path / "source", ".A", ".B")
    put(source, "cur/1.x:2,SX", b"1")
    put(source, ".A/cur/2.x:2,S", b"2")
    (source / ".B/cur").rmdir()
    (source / ".B/cur").symlink_to(source / "cur")
    (source / ".A/dovecot-keywords").write_bytes(b"\n" * 100_000)

    found = read(source)

    assert [item.folder for item in found if isinstance(item, Beginning)] == ["INBOX", "A", "B"]
    (message,) = mail(found)
    assert (message.flags, message.content) == ("S", b"1")
    assert strange(found) == {".A": "dovecot-keywords has more than 65536 octets", ".B": "Not a directory"}


def test_a_message_that_cannot_be_read_is_said(tmp_path, monkeypatch):
    source = new_maildir(tmp_path / "source")
    put(source, "cur/1.x:2,S", b"1")
    put(source, "cur/2.x:2,S", b"2")

    def unreadable(fd):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("storage.incoming.pieces", unreadable)

    assert strange(read(source)) == {"1.x:2,S": "Input/output error", "2.x:2,S": "Input/output error"}


def test_what_is_no_file_is_said(tmp_path):
    assert strange(read("/dev/null")) == {"null": "not a file"}


def test_a_folder_whose_name_is_not_modified_utf7(tmp_path):
    source = new_maildir(tmp_path / "source", ".Entwürfe.Alt", "fs&bad/Grüße")

    found = [item.folder for item in read(source) if isinstance(item, Beginning)]

    assert found == ["INBOX", "Entwürfe/Alt", "fs&bad/Grüße"]


def test_the_share_of_a_maildir_grows(tmp_path):
    source = new_maildir(tmp_path / "source", ".A")
    for number in range(4):
        put(source, f"cur/{number}.x:2,", b"%d" % number)
        put(source, f".A/cur/{number}.x:2,", b"%d" % number)

    assert [item.share for item in mail(read(source))] == [number / 8 for number in range(8)]
