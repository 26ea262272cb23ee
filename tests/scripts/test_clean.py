import os
import socket
import subprocess
import sys
import time

import pytest

from scripts.clean import main
from storage.names import escaped_host
from tests.support.scripting import new_maildir, runner

HOUR = 3600


@pytest.fixture
def clean(capfd):
    return runner(main, capfd)


@pytest.fixture
def later(monkeypatch):
    """A file's ctime cannot be set, so the clock is."""

    def set_clock(hours):
        now = time.time() + hours * HOUR
        monkeypatch.setattr("scripts.clean.time.time", lambda: now)

    return set_clock


def name_of(pid, host=None):
    return f"1764000000.M1P{pid}Q1R0123abcd.{host or escaped_host(socket.gethostname())}"


@pytest.fixture
def dead_pid():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def kinds(result):
    return {fact["name"]: fact["kind"] for fact in result.facts}


@pytest.mark.parametrize("hours, kind", [(35.9, "kept"), (36.1, "removed")])
def test_a_file_goes_when_nothing_has_touched_it_for_36_hours(tmp_path, clean, later, hours, kind):
    maildir = new_maildir(tmp_path / "bob", ".A")
    (maildir / ".A/tmp/1.2.3").write_text("x")
    later(hours)

    result = clean(maildir, "--json")

    assert result.code == 0
    assert kinds(result) == {"tmp/1.2.3": kind}
    assert (maildir / ".A/tmp/1.2.3").exists() == (kind == "kept")


def test_an_old_message_that_was_just_linked_into_tmp_stays(tmp_path, clean):
    maildir = new_maildir(tmp_path / "bob")
    (maildir / "cur/1.2.3:2,S").write_text("x")
    os.utime(maildir / "cur/1.2.3:2,S", (0, 0))
    os.link(maildir / "cur/1.2.3:2,S", maildir / "tmp/4.5.6")  # as Dovecot copies

    assert kinds(clean(maildir, "--json")) == {"tmp/4.5.6": "kept"}


def test_what_our_dead_processes_left_goes_earlier(tmp_path, clean, later, dead_pid):
    maildir = new_maildir(tmp_path / "bob")
    for pid, host in ((dead_pid, None), (os.getpid(), None), (dead_pid, "other.example")):
        (maildir / "tmp" / name_of(pid, host)).write_text("x")
    later(1)

    assert kinds(clean(maildir, "--json")) == {
        f"tmp/{name_of(dead_pid)}": "removed",
        f"tmp/{name_of(os.getpid())}": "kept",
        f"tmp/{name_of(dead_pid, 'other.example')}": "kept",
    }


def test_but_not_at_once(tmp_path, clean, later, dead_pid):
    maildir = new_maildir(tmp_path / "bob")
    (maildir / "tmp" / name_of(dead_pid)).write_text("x")
    later(0.24)

    assert kinds(clean(maildir, "--json")) == {f"tmp/{name_of(dead_pid)}": "kept"}


def test_a_dry_run_says_the_same_and_removes_nothing(tmp_path, clean, later):
    maildir = new_maildir(tmp_path / "bob")
    (maildir / "tmp/x").write_text("hello")
    later(37)

    result = clean(maildir, "--dry-run")

    reason = "nothing has touched it for 36 hours"
    assert result.out == f"{maildir}: INBOX: would remove tmp/x (5 octets): {reason}\n"
    assert (maildir / "tmp/x").exists()


def test_what_is_no_file_stays_and_no_link_is_followed(tmp_path, clean, later):
    maildir = new_maildir(tmp_path / "bob")
    (tmp_path / "treasure").mkdir()
    (tmp_path / "treasure/tmp").mkdir()
    (tmp_path / "treasure/tmp/x").write_text("x")
    (maildir / "tmp/link").symlink_to(tmp_path / "treasure/tmp/x")
    (maildir / "tmp/folder").mkdir()
    (maildir / ".A").symlink_to(tmp_path / "treasure")
    later(100)

    result = clean(maildir, "--json")

    assert kinds(result) == {"tmp/link": "kept", "tmp/folder": "kept"}
    assert (tmp_path / "treasure/tmp/x").exists()


def test_mail_is_never_touched(tmp_path, clean, later):
    maildir = new_maildir(tmp_path / "bob")
    (maildir / "new/1.2.3").write_text("x")
    (maildir / "cur/4.5.6:2,").write_text("x")
    later(100)

    result = clean(maildir, "--empty-folders", "0")

    assert (result.out, result.code) == ("", 0)
    assert (maildir / "new/1.2.3").exists()


def test_empty_folders_go_unless_somebody_wants_them(tmp_path, clean, later):
    maildir = new_maildir(tmp_path / "bob", ".Empty", ".Wanted", ".Full", ".Up", ".Up.Full")
    for path in (".Full/cur/1.2.3:2,", ".Up.Full/new/1.2.3"):
        (maildir / path).write_text("x")
    (maildir / ".Empty/dovecot-uidlist").write_text("3 V1 N1 G0\n")
    (maildir / ".Empty/maildirfolder").touch()
    (maildir / "subscriptions").write_text("V\t2\n\nWanted\n")
    later(25)

    result = clean(maildir, "--empty-folders", "1", "--json")

    assert {fact["folder"]: (fact["kind"], fact["why"]) for fact in result.facts} == {
        "Empty": ("removed", "it has been empty for more than 1 day"),
        "Wanted": ("kept", "it is subscribed to"),
        "Up": ("kept", "there is a folder below it"),
    }
    assert sorted(each.name for each in maildir.iterdir() if each.name.startswith(".")) == [
        ".Full",
        ".Up",
        ".Up.Full",
        ".Wanted",
    ]


def test_a_folder_with_something_unknown_in_it_stays(tmp_path, clean, later):
    maildir = new_maildir(tmp_path / "bob", ".Odd")
    (maildir / ".Odd/notes.txt").write_text("mine")
    later(25)

    result = clean(maildir, "--empty-folders", "1", "--json")

    assert [(fact["kind"], fact["why"]) for fact in result.facts] == [("kept", "there is 'notes.txt' in it")]
    assert (maildir / ".Odd/cur").is_dir()


@pytest.mark.parametrize("days, kinds_then", [(29, []), (31, ["removed"])])
def test_an_undo_log_goes_after_thirty_days(tmp_path, clean, later, days, kinds_then):
    maildir = new_maildir(tmp_path / "bob")
    (maildir / "maildir-check.undo.1").touch()
    (maildir / "maildir-check.undo.notes").touch()
    later(24 * days)

    result = clean(maildir, "--json")

    assert [fact["kind"] for fact in result.facts] == kinds_then
    assert (maildir / "maildir-check.undo.1").exists() == (not kinds_then)
    assert (maildir / "maildir-check.undo.notes").exists()


def test_one_broken_maildir_stops_no_other(tmp_path, clean, later):
    for user in ("alice", "bob", "carol"):
        new_maildir(tmp_path / user)
        (tmp_path / user / "tmp/x").write_text("x")
    (tmp_path / "bob/tmp/x").unlink()
    (tmp_path / "bob/tmp").rmdir()
    (tmp_path / "bob/tmp").write_text("a file")
    later(100)

    result = clean("--all", "--mailboxes", f"{tmp_path}/{{user}}", "--json")

    assert result.code == os.EX_NOPERM
    assert f"maildir-clean: {tmp_path}/bob: " in result.err
    assert {fact["user"] for fact in result.facts} == {"alice", "carol"}


def test_what_an_interrupted_removal_left_of_a_folder_goes_and_a_young_or_strange_one_stays(
    tmp_path, clean, later
):
    maildir = new_maildir(tmp_path / "bob")
    for name in (".Left", ".Strange"):
        (maildir / name).mkdir()
    (maildir / ".Left/dovecot-uidlist").write_text("3 V1 N1 G0\n")
    (maildir / ".Strange/notes.txt").write_text("mine")

    later(23)
    young = clean(maildir, "--empty-folders", "1", "--json")
    later(25)
    old = clean(maildir, "--empty-folders", "1", "--json")

    assert [(fact["folder"], fact["kind"]) for fact in young.facts] == [("Left", "kept")]
    assert [(fact["folder"], fact["kind"]) for fact in old.facts] == [("Left", "removed")]
    assert sorted(os.listdir(maildir)) == [".Strange", "cur", "new", "tmp"]
