"""`maildir-import` from what other programs wrote: Dovecot, Courier, mbox tools."""

import mailbox
import os
import subprocess
from pathlib import Path

import pytest

from scripts import importing as module
from tests.support.arrivals import MBOX, WHEN, put, stored
from tests.support.requirements import CORPUS, need, program
from tests.support.scripting import Script, new_maildir, runner


@pytest.fixture
def maildir_import(capfd: pytest.CaptureFixture[str]) -> Script:
    return runner(module.main, capfd)


@pytest.fixture
def maildir(tmp_path: Path) -> Path:
    return new_maildir(tmp_path / "bob")


def test_a_maildir_of_dovecot_with_folders(maildir_import, maildir, tmp_path):
    source = new_maildir(tmp_path / "source", ".Entw&APw-rfe", ".A.B")
    put(source, "cur/1.x:2,Sb", b"Subject: 1\n\n", 100)
    put(source, "new/2.x", b"Subject: 2\r\n\r\n", 200)
    put(source, ".A.B/cur/3.x:2,FTa", b"Subject: 3\n\n", 300)
    put(source, ".Entw&APw-rfe/cur/4.x:2,D", b"Subject: 4\n\n", 400)
    put(source, "dovecot-keywords", b"1 work\n")
    put(source, ".A.B/dovecot-keywords", b"0 play\n")

    for _ in range(2):
        assert maildir_import(maildir, source).code == 0

    assert stored(maildir) == {
        b"Subject: 1\n\n": ("cur", "Sa", 100),
        b"Subject: 2\r\n\r\n": ("new", "", 200),
    }
    assert stored(maildir / ".A.B") == {b"Subject: 3\n\n": ("cur", "FTa", 300)}
    assert stored(maildir / ".Entw&APw-rfe") == {b"Subject: 4\n\n": ("cur", "D", 400)}
    assert (maildir / "dovecot-keywords").read_text() == "0 work\n"


def test_a_tree_in_which_folders_lie_in_each_other(maildir_import, maildir, tmp_path):
    source = new_maildir(tmp_path / "source", "A/B", "v1.2")
    put(source, "A/B/cur/1.x:2,S", b"Subject: 1\n\n")
    put(source, "v1.2/cur/1.x:2,S", b"Subject: 2\n\n")

    assert maildir_import(maildir, source).code == 0

    assert len(stored(maildir / ".A.B")) == len(stored(maildir / ".v1_2")) == 1


def test_a_tree_of_courier(maildir_import, maildir, tmp_path):
    need("maildirmake.maildrop")
    source = tmp_path / "source"
    subprocess.run([program("maildirmake.maildrop"), source], check=True)
    for folder in ("Sent", "Entwürfe"):
        subprocess.run([program("maildirmake.maildrop"), "-f", folder, source], check=True)
    put(source, "cur/1.x,S=12:2,S", b"Subject: 1\n\n")
    put(source, ".Sent/cur/2.x:2,S", b"Subject: 2\n\n")
    put(source, ".Entwürfe/cur/3.x:2,D", b"Subject: 3\n\n")
    put(source, "courierimapkeywords/:list", b"work\n$Forwarded\n\n1.x,S=12:0 1\n")

    assert maildir_import(maildir, source).code == 0

    assert stored(maildir) == {b"Subject: 1\n\n": ("cur", "Sab", WHEN)}
    assert (maildir / "dovecot-keywords").read_text() == "0 work\n1 $Forwarded\n"
    assert len(stored(maildir / ".Sent")) == 1
    assert len(stored(maildir / ".Entw&APw-rfe")) == 1


def test_a_tree_of_mbox_files_and_messages(maildir_import, maildir, tmp_path):
    source = tmp_path / "mail"
    for name in ("inbox", "Sent", "Lists/python.mbox", "Local.sbd/Old"):
        put(source, name, MBOX)
    put(source, "Drafts/1.eml", b"Subject: draft\n\n")
    put(source, "empty", b"")
    put(source, ".subscriptions", b"Sent\n")
    put(source, "Sent.msf", b"// <!-- <mdb:mork")
    (source / "link").symlink_to("/etc/passwd")
    os.mkfifo(source / "pipe")

    result = maildir_import(maildir, source, "--json")

    assert result.code == os.EX_DATAERR
    strange = {fact["source"]: fact["why"] for fact in result.facts if fact["kind"] == "passed over"}
    assert strange == {
        f"{source}/Sent.msf": "neither an mbox nor called .eml",
        f"{source}/link": "Too many levels of symbolic links",
        f"{source}/pipe": "not a file",
    }
    imported = {fact["folder"]: fact["messages"] for fact in result.facts if fact["kind"] == "imported"}
    assert imported == {"INBOX": 2, "Sent": 2, "Lists/python": 2, "Local/Old": 2, "Drafts": 1, "empty": 0}


def test_mailbox_of_the_standard_library(maildir_import, maildir, tmp_path):
    need("corpus")
    contents = [path.read_bytes() for path in sorted(CORPUS.glob("*.eml"))]
    box = mailbox.mbox(tmp_path / "mbox")
    for content in contents:
        box.add(content)
    box.close()

    assert maildir_import(maildir, tmp_path / "mbox", "--quoting", "o").code == 0

    ended = {content if content.endswith(b"\n") else content + b"\n" for content in contents}
    assert set(stored(maildir)) == ended
