"""`maildir-expire`: what goes, what stays, and what comes back."""

import os
import signal
import subprocess
import sys
import time

import pytest

from scripts import expire as module
from storage.trash import GROUP
from tests.support.arrivals import put
from tests.support.polling import wait_for
from tests.support.requirements import ROOT
from tests.support.scripting import Script, new_maildir, runner, tree

DAY = 86_400
NOW = int(time.time())


@pytest.fixture
def maildir_expire(capfd: pytest.CaptureFixture[str]) -> Script:
    return runner(module.main, capfd)


@pytest.fixture
def maildir(tmp_path):
    """An inbox with one old message, and a Trash with messages of 0 to 9 times ten days."""
    maildir = new_maildir(tmp_path / "bob", ".Trash", ".Lists.a")
    put(maildir, f"cur/{NOW - 900 * DAY}.x,S=3,W=3:2,S", b"old")
    put(maildir, f".Lists.a/cur/{NOW - 900 * DAY}.x,S=3,W=3:2,S", b"old")
    for number in range(10):
        flags = "F" if number == 9 else "S"
        put(maildir, f".Trash/cur/{NOW - number * 10 * DAY - 60}.x,S=1,W=1:2,{flags}", b"%d" % number)
    return maildir


def left(maildir, folder=".Trash"):
    return sorted(
        path.read_bytes() for part in ("new", "cur") for path in (maildir / folder / part).iterdir()
    )


def test_what_is_too_old_goes_and_comes_back(maildir_expire, maildir):
    before = tree(maildir)

    result = maildir_expire(maildir, "--keep", "Trash=30d")

    assert result.code == 0, result.err
    assert left(maildir) == [b"0", b"1", b"2"]
    assert result.out.startswith(f"{maildir}: Trash: took 7 messages to 20")
    undone = maildir_expire(maildir, "--undo")
    assert "put back 7 messages of 20" in undone.out
    assert tree(maildir) == before
    assert maildir_expire(maildir, "--undo").out == ""


def test_the_last_run_is_undone_first(maildir_expire, maildir):
    maildir_expire(maildir, "--keep", "Trash=80d")
    time_of_first = os.listdir(maildir / "lmtpd-trash")
    # Batches of one second are told apart by their random part alone; their order does not matter then.
    os.rename(
        maildir / "lmtpd-trash" / time_of_first[0],
        maildir / "lmtpd-trash" / time_of_first[0].replace("20", "19", 1),
    )
    maildir_expire(maildir, "--keep", "Trash=30d", "--undo-days", "99999")
    assert left(maildir) == [b"0", b"1", b"2"]

    maildir_expire(maildir, "--undo")
    assert left(maildir) == [b"%d" % number for number in range(8)]
    maildir_expire(maildir, "--undo")
    assert len(left(maildir)) == 10


def test_dry_run_says_and_does_nothing(maildir_expire, maildir):
    before = tree(maildir)

    result = maildir_expire(maildir, "--keep", "Trash=75d", "--dry-run")

    assert result.code == 0
    lines = result.out.splitlines()
    assert [line.endswith(": it came more than 75d ago") for line in lines] == [True, True, False]
    assert tree(maildir) == before


def test_json_names_each_message_and_the_reason(maildir_expire, maildir):
    facts = maildir_expire(maildir, "--keep", "Trash=8", "--json").facts

    assert [fact["kind"] for fact in facts] == ["expired", "expired", "expired in all"]
    assert facts[0]["why"] == "there are 8 newer"
    assert facts[0]["octets"] == 1
    assert facts[0]["arrived"].startswith("20")
    assert (facts[2]["folder"], facts[2]["messages"]) == ("Trash", 2)


def test_only_named_folders_are_touched(maildir_expire, maildir):
    maildir_expire(maildir, "--keep", "*=365d")

    assert left(maildir, ".Lists.a") == []
    assert left(maildir, ".") == [b"old"]
    maildir_expire(maildir, "--keep", "INBOX=365d")
    assert left(maildir, ".") == []


def test_flags_are_spared(maildir_expire, maildir):
    maildir_expire(maildir, "--keep", "Trash=0", "--spare", "flagged")

    assert left(maildir) == [b"9"]


def test_a_run_deletes_what_has_been_in_the_trash_long_enough(maildir_expire, maildir):
    maildir_expire(maildir, "--keep", "Trash=30d")
    assert len(os.listdir(maildir / "lmtpd-trash")) == 1

    again = maildir_expire(maildir, "--keep", "Trash=30d")
    assert (again.out, len(os.listdir(maildir / "lmtpd-trash"))) == ("", 1)

    dry = maildir_expire(maildir, "--keep", "Trash=30d", "--undo-days", "0", "--dry-run")
    assert "would delete for good 20" in dry.out
    last = maildir_expire(maildir, "--keep", "Trash=30d", "--undo-days", "0")
    assert "deleted for good 7 messages of 20" in last.out
    assert not (maildir / "lmtpd-trash").exists()


def test_a_folder_as_trash_starts_the_age_anew(maildir_expire, maildir):
    put(maildir, ".Lists.a/dovecot-keywords", b"3 work\n")
    put(maildir, f".Lists.a/cur/{NOW - 800 * DAY}.y,S=3,W=4:2,Sd", b"o\nd", NOW - 1000 * DAY)

    result = maildir_expire(maildir, "--keep", "Lists/*=1y", "--keep", "Trash=30d", "--trash-folder", "Trash")

    assert result.code == 0, result.err
    assert left(maildir, ".Lists.a") == []
    assert left(maildir) == [b"0", b"1", b"2", b"o\nd", b"old"]
    moved = [path for path in (maildir / ".Trash/cur").iterdir() if path.read_bytes() == b"o\nd"]
    assert moved[0].name.endswith(",S=3,W=4:2,Sa")
    assert abs(int(moved[0].name.partition(".")[0]) - time.time()) < 60
    assert int(moved[0].stat().st_mtime) == NOW - 1000 * DAY
    assert (maildir / ".Trash/dovecot-keywords").read_text() == "0 work\n"


def test_a_name_without_a_time_has_that_of_its_file(maildir_expire, maildir):
    put(maildir, ".Trash/cur/strange:2,", b"strange", NOW - 999 * DAY)
    put(maildir, ".Trash/cur/young:2,", b"young", NOW)

    maildir_expire(maildir, "--keep", "Trash=365d")

    assert b"strange" not in left(maildir)
    assert b"young" in left(maildir)


def test_links_are_no_mail(maildir_expire, maildir, tmp_path):
    put(tmp_path, "outside/secret", b"secret", NOW - 999 * DAY)
    (maildir / ".Trash/cur/100000001.link").symlink_to(tmp_path / "outside/secret")
    (maildir / ".Linked").symlink_to(tmp_path / "outside")

    assert maildir_expire(maildir, "--keep", "*=0").code == 0

    assert (tmp_path / "outside/secret").exists()
    assert (maildir / ".Trash/cur/100000001.link").is_symlink()


def test_timer_runs_the_same_command_line(maildir_expire, maildir):
    result = maildir_expire(maildir, "--keep", "Trash=30d", "--print-timer", "--keep", "Junk=14d,500M,1000")

    assert result.code == 0
    assert f"maildir-expire {maildir} --keep Trash=30d --keep Junk=14d,500M,1000\n" in result.out
    assert "OnCalendar=" in result.out
    assert len(left(maildir)) == 10


def test_timer_knows_the_configuration_that_came_from_the_environment(maildir_expire, tmp_path, monkeypatch):
    (tmp_path / "lmtpd.toml").write_text(f'[mailboxes]\npath = "{tmp_path}/{{user}}"\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LMTPD_CONFIG", "lmtpd.toml")

    result = maildir_expire("--all", "--keep", "Trash=30d", "--print-timer")

    assert f" --all --keep Trash=30d --config {tmp_path}/lmtpd.toml\n" in result.out


def test_killed_amid_the_work_and_run_again(maildir, monkeypatch):
    for number in range(2 * GROUP):
        put(maildir, f".Trash/cur/{NOW - 900 * DAY}.P{number},S=1,W=1:2,S", b"x")
    everything = len(left(maildir))
    command = [sys.executable, "-c", "import scripts.expire as e; e.main()", maildir, "--keep", "Trash=365d"]
    cur, trash = maildir / ".Trash/cur", maildir / "lmtpd-trash"
    with subprocess.Popen(command, cwd=ROOT, start_new_session=True) as process:
        wait_for(trash.exists, "the trash")
        wait_for(lambda: len(os.listdir(cur)) < everything, "the first one to go")
        os.killpg(process.pid, signal.SIGKILL)
    in_trash = sum(1 for path in trash.rglob("*:2,*"))
    assert len(left(maildir)) + in_trash == everything

    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)

    assert len(left(maildir)) == 10
    assert sum(1 for path in trash.rglob("*:2,*")) == 2 * GROUP


@pytest.mark.parametrize(
    "arguments, words",
    [
        ([], "Give --keep FOLDER=LIMIT"),
        (["--keep", "Trash"], "--keep Trash: write FOLDER=LIMIT"),
        (["--keep", "Trash=soon"], "'soon' is no limit"),
        (["--keep", "Trash=1d", "--spare", "old"], "Invalid value for '--spare'"),
    ],
)
def test_wrong_usage(maildir_expire, maildir, arguments, words):
    result = maildir_expire(maildir, *arguments)

    assert (result.code, words in result.err) == (os.EX_USAGE, True), result.err


def test_a_strange_trash_folder_is_refused(maildir_expire, maildir):
    result = maildir_expire(maildir, "--keep", "Trash=1d", "--trash-folder", "a.b")

    assert result.code == os.EX_USAGE
    assert result.err.endswith("--trash-folder a.b: a dot, which separates levels on disk\n")
    assert len(left(maildir)) == 10


def test_timer_finds_its_files_from_anywhere(maildir_expire, tmp_path, monkeypatch):
    (tmp_path / "lmtpd.toml").write_text(f'[mailboxes]\npath = "{tmp_path}/{{user}}"\n')
    monkeypatch.chdir(tmp_path)

    result = maildir_expire(
        "--all", "--config=lmtpd.toml", "--resume", "done", "--keep", "Trash=30d", "--print-timer"
    )
    one = maildir_expire("bob", "--keep", "Trash=30d", "--print-timer")

    wanted = f" --all --config {tmp_path}/lmtpd.toml --resume {tmp_path}/done --keep Trash=30d\n"
    assert wanted in result.out
    assert f"maildir-expire {tmp_path}/bob --keep Trash=30d\n" in one.out


def test_timer_has_no_standard_input(maildir_expire, tmp_path):
    result = maildir_expire(
        "--users-from", "-", "--mailboxes", f"{tmp_path}/{{user}}", "--keep", "Trash=30d", "--print-timer"
    )

    assert result.code == os.EX_USAGE
    assert "standard input" in result.err


def test_a_folder_that_nobody_has_is_said(maildir_expire, tmp_path):
    new_maildir(tmp_path / "mail" / "bob")
    new_maildir(tmp_path / "mail" / "eve", ".Junk")

    result = maildir_expire(
        "--all", "--mailboxes", f"{tmp_path}/mail/{{user}}", "--json",
        "--keep", "Junk=14d", "--keep", "Trsh=30d", "--keep", "INBOX=9y",
    )  # fmt: skip

    assert (result.code, result.out) == (0, "")
    assert result.err == "maildir-expire: --keep Trsh: no such folder, nothing to take\n"


def test_nothing_to_take_back_is_said(maildir_expire, tmp_path):
    result = maildir_expire(new_maildir(tmp_path / "bob"), "--undo")

    assert (result.code, result.out) == (0, "")
    assert result.err == "maildir-expire: there is nothing to take back\n"
