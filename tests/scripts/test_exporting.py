"""`maildir-export`: the same octets each time, and back again by `maildir-import`."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
from hashlib import sha256
from pathlib import Path

import pytest

from scripts import exporting as module
from storage import mbox
from tests.support.arrivals import WHEN, put
from tests.support.requirements import ROOT, need
from tests.support.scripting import Script, new_maildir, runner, tree

FORMATS = ["mbox", "mbox-tree", "tar", "eml"]
DAY = 86_400


@pytest.fixture
def maildir_export(capfd: pytest.CaptureFixture[str]) -> Script:
    return runner(module.main, capfd)


@pytest.fixture
def maildir(tmp_path: Path) -> Path:
    maildir = new_maildir(tmp_path / "bob", ".A.B", ".Empty")
    put(maildir, "cur/2.x:2,FSa", b"Return-Path: <a@b>\nSubject: two\nList-Id: <py>\n\nFrom here\n", WHEN)
    put(maildir, "new/1.x", b"Subject: one\n\nno end", WHEN + DAY)
    put(maildir, "cur/3.x:2,", b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\nStatus: mine\n\n\n\n", WHEN + 2 * DAY)
    put(maildir, ".A.B/cur/1.x:2,DPRT", b"Subject: below\n\n", WHEN + 3 * DAY)
    put(maildir, "dovecot-keywords", b"0 work\n")
    return maildir


@pytest.mark.parametrize("form", FORMATS)
def test_the_same_mail_is_the_same_octets(maildir_export, maildir, tmp_path, form):
    copy = tmp_path / "elsewhere"
    shutil.copytree(maildir, copy)

    for source, name in ((maildir, "first"), (maildir, "second"), (copy, "third")):
        result = maildir_export(source, "--format", form, "--output", tmp_path / name)
        assert result.code == 0, result.err

    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    if first.is_dir():
        assert tree(first) == tree(second) == tree(third)
        assert len([path for path in first.rglob("*") if path.is_file()]) == (5 if form == "eml" else 3)
    else:
        assert first.read_bytes() == second.read_bytes() == third.read_bytes()
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize("more", [[], ["--dry-run"], ["--force"]])
@pytest.mark.parametrize("form", FORMATS)
def test_folders_that_are_not_there_are_named_before_anything_is_written(
    maildir_export, maildir, tmp_path, form, more
):
    output = tmp_path / "out"
    if "--force" in more:
        output.write_text("yesterday's")

    result = maildir_export(maildir, "--format", form, "--output", output, "--folder", "Lists/*", *more)

    assert (result.code, result.out) == (os.EX_NOINPUT, "")
    assert result.err == (
        f"maildir-export: {maildir}: no folder is named Lists/*; there are A/B, Empty, INBOX\n"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "bob",
        *(["out"] if "--force" in more else []),
    ]


def test_of_many_one_may_lack_a_folder(maildir_export, maildir, tmp_path):
    (tmp_path / "mail").mkdir()
    maildir.rename(tmp_path / "mail" / "bob")
    new_maildir(tmp_path / "mail" / "eve")

    result = maildir_export(
        "--all", "--mailboxes", f"{tmp_path}/mail/{{user}}", "--format", "tar", "--output", tmp_path / "out",
        "--folder", "A/B", "--json",
    )  # fmt: skip

    assert (result.code, result.err) == (0, "")
    counts = {fact["user"]: fact["messages"] for fact in result.facts if fact["kind"] == "exported"}
    assert counts == {"bob": 1, "eve": 0}


def test_standard_output_and_its_digest(maildir, tmp_path):
    command = [sys.executable, "-c", "import scripts.exporting as e, sys; sys.exit(e.main())"]
    result = subprocess.run(
        [*command, maildir, "--format", "tar", "--output", "-", "--json"],
        capture_output=True,
        check=True,
        cwd=ROOT,
    )

    facts = [json.loads(line) for line in result.stderr.splitlines()]
    (wrote,) = [fact for fact in facts if fact["kind"] == "wrote"]
    assert (wrote["sha256"], wrote["octets"], wrote["verified"]) == (
        sha256(result.stdout).hexdigest(), len(result.stdout), False
    )  # fmt: skip
    (tmp_path / "x.tar").write_bytes(result.stdout)
    with tarfile.open(tmp_path / "x.tar") as archive:
        assert "cur/2.x:2,FSa" in archive.getnames()
        assert {(member.uid, member.gid, member.uname) for member in archive} == {(0, 0, "")}


@pytest.mark.parametrize(
    "arguments, subjects",
    [
        (["--folder", "INBOX"], ["two", "one", "=?utf-8?q?Gr=C3=BC=C3=9Fe?="]),
        (["--folder", "A/*"], ["below"]),
        (["--since", "2026-11-26", "--before", "2026-11-27T10:00:00Z"], ["=?utf-8?q?Gr=C3=BC=C3=9Fe?="]),
        (["--since", "2026-11-27T10:00:00"], ["below"]),
        (["--flag", "seen"], ["two"]),
        (["--flag", "Flagged", "--flag", "work"], ["two"]),
        (["--flag", "work", "--flag", "draft"], []),
        (["--without-flag", "seen", "--folder", "INBOX"], ["one", "=?utf-8?q?Gr=C3=BC=C3=9Fe?="]),
        (["--header", "list-id=PY"], ["two"]),
        (["--header", "Subject=GRÜSSE"], ["=?utf-8?q?Gr=C3=BC=C3=9Fe?="]),
        (["--header", "Subject=grüße"], ["=?utf-8?q?Gr=C3=BC=C3=9Fe?="]),
        (["--header", "Subject=w", "--header", "Subject=t"], ["two"]),
    ],
)
def test_filters(maildir_export, maildir, tmp_path, arguments, subjects):
    result = maildir_export(maildir, "--format", "mbox", "--output", tmp_path / "out", *arguments)

    assert result.code == 0, result.err
    found = [
        each.content.split(b"Subject: ")[1].split(b"\n")[0]
        for each in mbox.read((tmp_path / "out").read_bytes())
    ]
    assert sorted(found) == sorted(each.encode() for each in subjects)


def test_dry_run_writes_nothing(maildir_export, maildir, tmp_path):
    result = maildir_export(maildir, "--format", "tar", "--output", tmp_path / "out", "--dry-run")

    assert result.out == f"{maildir}: would export 4 messages to {tmp_path}/out\n"
    assert not (tmp_path / "out").exists()


def test_all_mailboxes_each_in_a_file(maildir_export, tmp_path):
    for user in ("bob", "eve"):
        put(
            new_maildir(tmp_path / "mail/example.org" / user),
            "new/1.x",
            b"Subject: " + user.encode() + b"\n\n",
        )

    result = maildir_export(
        "--all",
        "--mailboxes",
        f"{tmp_path}/mail/{{domain}}/{{user}}",
        "--format",
        "mbox",
        "--output",
        tmp_path / "out",
    )

    assert result.code == 0, result.err
    assert sorted(os.listdir(tmp_path / "out")) == ["bob@example.org.mbox", "eve@example.org.mbox"]


def test_what_an_mbox_cannot_hold_is_said(maildir_export, maildir, tmp_path):
    put(maildir, "cur/9.x:2,", b"Subject: cut")

    result = maildir_export(maildir, "--format", "mbox", "--output", tmp_path / "out")

    assert "INBOX: cur/9.x:2,: an mbox cannot hold it as it is" in result.out


def test_an_export_that_was_killed_leaves_no_whole_looking_file(maildir_export, maildir, tmp_path):
    (tmp_path / "out.part").write_bytes(b"torn")
    (tmp_path / "out").write_bytes(b"the last one")

    assert maildir_export(maildir, "--format", "tar", "--output", tmp_path / "out", "--force").code == 0

    assert tarfile.is_tarfile(tmp_path / "out")
    assert not (tmp_path / "out.part").exists()


def test_a_bad_disk_is_noticed(maildir_export, maildir, tmp_path, monkeypatch):
    (tmp_path / "out").write_bytes(b"the last one")
    monkeypatch.setattr("storage.archives.os.posix_fadvise", lambda fd, *_: os.pwrite(fd, b"\1", 3))

    result = maildir_export(maildir, "--format", "tar", "--output", tmp_path / "out", "--force")

    assert result.code == os.EX_IOERR
    assert "what was read back is not what was written" in result.err
    assert (tmp_path / "out").read_bytes() == b"the last one"


def test_links_are_no_mail(maildir_export, maildir, tmp_path):
    put(tmp_path, "secret", b"Subject: secret\n\n")
    (maildir / "cur/5.x:2,").symlink_to(tmp_path / "secret")

    assert maildir_export(maildir, "--format", "mbox", "--output", tmp_path / "out").code == 0

    assert b"secret" not in (tmp_path / "out").read_bytes()


def test_root_reads_as_the_owner_and_writes_as_root(maildir_export, maildir, tmp_path):
    need("root")
    tmp_path.chmod(0o755)
    for path in (maildir, *maildir.rglob("*")):
        shutil.chown(path, "mail", "mail")
    (maildir / "cur/2.x:2,FSa").chmod(0o000)
    shutil.chown(maildir / "cur/2.x:2,FSa", "root")
    (tmp_path / "backup").mkdir(0o700)

    result = maildir_export(maildir, "--format", "eml", "--output", tmp_path / "backup/bob")

    assert result.code == os.EX_NOPERM
    assert (tmp_path / "backup/bob").owner() == "root"


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--format", "eml", "--output", "-"], "standard output is for one Maildir"),
        (["--format", "tar", "--output", "-", "--all", "--mailboxes", "/nowhere/{user}"], "one"),
        (["--format", "tar", "--output", "x", "--since", "yesterday"], "--since yesterday: write 2026-01-31"),
        (["--format", "tar", "--output", "x", "--header", "List-Id"], "write NAME=TEXT"),
        (["--format", "zip", "--output", "x"], "Invalid value for '--format'"),
    ],
)
def test_wrong_usage(maildir_export, maildir, arguments, words):
    result = maildir_export(maildir, *arguments)

    assert result.code == os.EX_USAGE
    assert words in result.err


@pytest.mark.parametrize("form", FORMATS)
def test_what_is_there_is_not_overwritten_unless_told(maildir_export, maildir, tmp_path, form):
    flags = ("--format", form, "--output", tmp_path / "out")
    if form in ("tar", "mbox"):
        (tmp_path / "out").write_bytes(b"precious")
    else:
        (tmp_path / "out").mkdir()
        (tmp_path / "out/precious").write_bytes(b"precious")
    before = tree(tmp_path)

    refused = maildir_export(maildir, *flags)
    after = tree(tmp_path)
    forced = maildir_export(maildir, *flags, "--force")

    assert refused.code == os.EX_CANTCREAT
    assert f"{tmp_path}/out is there already" in refused.err
    assert after == before
    assert forced.code == 0


def test_an_empty_directory_may_be_filled(maildir_export, maildir, tmp_path):
    (tmp_path / "out").mkdir()

    assert maildir_export(maildir, "--format", "eml", "--output", tmp_path / "out").code == 0
