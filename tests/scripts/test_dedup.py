"""`maildir-dedup`: what is the same, what stays, and with which flags."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from scripts import dedup as module
from storage import trash
from tests.support.arrivals import WHEN, put
from tests.support.polling import wait_for
from tests.support.requirements import ROOT
from tests.support.scripting import Script, new_maildir, runner, tree

ONE = b"Message-ID: <1@x>\nSubject: one\n\nbody\n"
DELIVERED = b"Return-Path: <a@b>\nDelivered-To: bob@x\nReceived: from y\n\tby z; now\n"


@pytest.fixture
def maildir_dedup(capfd: pytest.CaptureFixture[str]) -> Script:
    return runner(module.main, capfd)


@pytest.fixture
def maildir(tmp_path: Path) -> Path:
    """An inbox with a message three times and another once, which is also in a folder."""
    maildir = new_maildir(tmp_path / "bob", ".Old")
    put(maildir, "cur/2.young:2,RSb", ONE, WHEN + 10)
    put(maildir, "cur/1.old:2,Fa", ONE, WHEN)
    put(maildir, "new/3.new", ONE, WHEN + 20)
    put(maildir, "cur/4.other:2,S", b"Subject: other\n\n", WHEN)
    put(maildir, "cur/5.none:2,S", b"Subject: ANOTHER\n\n", WHEN)  # the size of none of the others
    put(maildir, ".Old/cur/6.x:2,a", b"Subject: other\n\n", WHEN)
    return maildir


def names(folder: Path) -> list[str]:
    return sorted(f"{part}/{path.name}" for part in ("new", "cur") for path in (folder / part).iterdir())


REST = ["cur/4.other:2,S", "cur/5.none:2,S"]


def test_without_an_action_the_groups_are_shown(maildir_dedup, maildir):
    before = tree(maildir)

    result = maildir_dedup(maildir)

    assert result.code == 0, result.err
    assert result.out.splitlines() == [
        f"{maildir}: INBOX: cur/1.old:2,Fa is there 3 times, and stays",
        f"{maildir}:     INBOX: cur/2.young:2,RSb is surplus",
        f"{maildir}:     INBOX: new/3.new is surplus",
    ]
    assert maildir_dedup(maildir, "--remove", "--dry-run").out == result.out
    assert tree(maildir) == before


def test_the_oldest_stays_with_the_flags_of_all(maildir_dedup, maildir):
    before = tree(maildir)
    mtime = (maildir / "cur/1.old:2,Fa").stat().st_mtime_ns

    result = maildir_dedup(maildir, "--remove", "--json")

    assert result.code == 0, result.err
    assert names(maildir) == ["cur/1.old:2,FRSab", *REST]
    assert (maildir / "cur/1.old:2,FRSab").stat().st_mtime_ns == mtime
    assert [fact["kind"] for fact in result.facts] == ["group", "removed", "removed"]
    assert maildir_dedup(maildir, "--remove").out == ""
    assert "put back 2 messages" in maildir_dedup(maildir, "--undo").out
    (maildir / "cur/1.old:2,FRSab").rename(maildir / "cur/1.old:2,Fa")
    assert tree(maildir) == before


def test_what_is_marked_as_deleted_does_not_stay(maildir_dedup, maildir):
    (maildir / "cur/1.old:2,Fa").rename(maildir / "cur/1.old:2,DFTa")

    assert maildir_dedup(maildir, "--remove").code == 0

    # Not deleted, no draft; but flagged.
    assert names(maildir) == ["cur/2.young:2,FRSab", *REST]


def test_across_folders_keywords_do_not_mix(maildir_dedup, maildir):
    assert maildir_dedup(maildir, "--across", "--remove").code == 0

    assert names(maildir) == ["cur/1.old:2,FRSab", *REST]
    assert names(maildir / ".Old") == []
    assert maildir_dedup(maildir, "--undo").code == 0
    assert names(maildir / ".Old") == ["cur/6.x:2,a"]


def test_what_deliveries_add_makes_no_difference(maildir_dedup, maildir):
    put(maildir, "cur/0.delivered:2,", DELIVERED + ONE, WHEN - 1)
    assert len(maildir_dedup(maildir).out.splitlines()) == 3

    result = maildir_dedup(maildir, "--by", "mail", "--remove")

    assert "0.delivered:2, is there 4 times" in result.out
    assert names(maildir) == ["cur/0.delivered:2,FRSab", *REST]


def test_message_id(maildir_dedup, maildir):
    put(
        maildir,
        "cur/7.list:2,",
        b"List-Id: <l>\nMessage-Id:\n <1@x>\nSubject: [l] one\n\nbody\nfooter\n",
        WHEN,
    )
    put(maildir, "cur/8.quoting:2,", b"Subject: x\n\nMessage-ID: <1@x>\n", WHEN)

    assert maildir_dedup(maildir, "--by", "message-id", "--remove").code == 0

    assert names(maildir) == ["cur/1.old:2,FRSab", *REST, "cur/8.quoting:2,"]


def test_links_keep_names_flags_and_dates(maildir_dedup, maildir):
    put(maildir, ".Old/cur/7.same:2,S", ONE, WHEN)
    before = {path: path.stat().st_mtime_ns for path in maildir.rglob("*:2,*")}

    result = maildir_dedup(maildir, "--across", "--link")

    assert result.code == 0, result.err
    assert "Old: cur/7.same:2,S is linked" in result.out
    assert "INBOX: cur/2.young:2,RSb is kept: its date is another" in result.out
    assert (maildir / "cur/1.old:2,Fa").samefile(maildir / ".Old/cur/7.same:2,S")
    assert (maildir / "cur/4.other:2,S").samefile(maildir / ".Old/cur/6.x:2,a")
    assert {path: path.stat().st_mtime_ns for path in maildir.rglob("*:2,*")} == before
    assert list(maildir.rglob("tmp/*")) == []
    assert "it is a link already" in maildir_dedup(maildir, "--across", "--link").out


def test_other_rights_are_not_linked(maildir_dedup, maildir):
    (maildir / ".Old/cur/6.x:2,a").chmod(0o640)

    result = maildir_dedup(maildir, "--across", "--link")

    assert "6.x:2,a is kept: its owner or mode is another" in result.out


@pytest.mark.parametrize("what", ["rename", "delete", "replace"])
def test_a_reader_at_work_while_a_link_is_made(maildir_dedup, maildir, monkeypatch, what):
    victim = maildir / ".Old/cur/6.x:2,a"

    def interfering(name, other, **fds):
        if what == "rename":
            victim.rename(maildir / ".Old/cur/6.x:2,Sa")
        elif what == "delete":
            victim.unlink()
        else:
            put(maildir, "other", b"Subject: new\n\n")
            (maildir / "other").rename(victim)
        monkeypatch.setattr("storage.merging.exchange", exchange)
        exchange(name, other, **fds)

    from storage.disk import exchange  # noqa: PLC0415 - the real one

    monkeypatch.setattr("storage.merging.exchange", interfering)
    result = maildir_dedup(maildir, "--across", "--link")

    assert "6.x:2,a is kept: a mail reader was at work on it" in result.out
    expected = {"rename": ["cur/6.x:2,Sa"], "delete": [], "replace": ["cur/6.x:2,a"]}[what]
    assert names(maildir / ".Old") == expected
    if what == "replace":
        assert victim.read_bytes() == b"Subject: new\n\n"
    assert list(maildir.rglob("tmp/*")) == []


def test_the_last_copy_stays_when_a_user_deletes_the_one_that_was_to_stay(
    maildir_dedup, maildir, monkeypatch
):
    put_into_trash = trash.Trash.put

    def while_the_user_deletes(self, *arguments):
        yield from put_into_trash(self, *arguments)
        for path in (maildir / "cur").glob("1.old*"):
            path.unlink()

    monkeypatch.setattr("storage.trash.Trash.put", while_the_user_deletes)
    result = maildir_dedup(maildir, "--remove")

    assert "2.young:2,RSb is kept: the one that was to stay was deleted meanwhile" in result.out
    assert names(maildir) == ["cur/2.young:2,RSb", *REST]


def test_links_are_no_mail(maildir_dedup, maildir, tmp_path):
    put(tmp_path, "secret", ONE)
    (maildir / "cur/9.link:2,").symlink_to(tmp_path / "secret")

    assert maildir_dedup(maildir, "--remove").code == 0

    assert (tmp_path / "secret").exists()
    assert (maildir / "cur/9.link:2,").is_symlink()


def test_killed_amid_the_work_and_run_again(maildir, tmp_path):
    for number in range(200):
        for copy in range(3):
            put(maildir, f".Old/cur/{number}.{copy}:2,S", b"Subject: %d\n\n" % number, WHEN + copy)
    command = [sys.executable, "-c", "import scripts.dedup as d; d.main()", maildir, "--remove"]
    in_trash = maildir / "lmtpd-trash"
    with subprocess.Popen(command, cwd=ROOT, start_new_session=True) as process:
        wait_for(lambda: any(in_trash.rglob("*:2,*")), "the first one to go")
        os.killpg(process.pid, signal.SIGKILL)
    left = {path.name.partition(".")[0] for path in (maildir / ".Old/cur").iterdir()}
    assert left == {str(number) for number in range(200)} | {"6"}

    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)

    assert len(list((maildir / ".Old/cur").iterdir())) == 201
    assert sum(1 for _ in in_trash.rglob("*.[012]:2,*")) == 400


def test_link_goes_with_content_only(maildir_dedup, maildir):
    result = maildir_dedup(maildir, "--link", "--by", "mail")

    assert result.code == os.EX_USAGE
    assert "only the same octets can be stored once" in result.err


@pytest.mark.parametrize("flags", [("--link", "--remove"), ("--remove", "--undo")])
def test_two_things_at_once_are_refused(maildir_dedup, maildir, flags):
    before = tree(maildir)

    result = maildir_dedup(maildir, *flags)

    assert result.code == os.EX_USAGE
    assert "do not go together" in result.err
    assert all(flag in result.err for flag in flags)
    assert tree(maildir) == before
