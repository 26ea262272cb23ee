"""`maildir-import`: what comes in, what stays as it was, and what a second run does."""

import io
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from scripts import importing as module
from storage import filling
from storage.messages import messages
from tests.support.arrivals import MBOX, WHEN, put, stored
from tests.support.polling import wait_for
from tests.support.requirements import ROOT, need
from tests.support.scripting import Script, new_maildir, opened, runner, tree


@pytest.fixture
def maildir_import(capfd: pytest.CaptureFixture[str]) -> Script:
    return runner(module.main, capfd)


@pytest.fixture
def maildir(tmp_path: Path) -> Path:
    return new_maildir(tmp_path / "bob")


def test_mbox(maildir_import, maildir, tmp_path):
    (tmp_path / "mbox").write_bytes(MBOX)

    result = maildir_import(maildir, tmp_path / "mbox", "--json")

    assert result.code == 0, result.err
    (fact,) = result.facts
    assert (fact["kind"], fact["folder"], fact["messages"], fact["skipped"]) == ("imported", "INBOX", 2, 0)
    assert stored(maildir) == {
        b"Subject: one\n\nFrom here\non\n": ("cur", "FRSab", WHEN),
        b"Subject: two\n\ntwo\n": ("new", "", WHEN + 1),
    }
    assert (maildir / "dovecot-keywords").read_text() == "0 $Junk\n1 work\n"
    assert list((maildir / "tmp").iterdir()) == []


def test_a_second_run_adds_nothing(maildir_import, maildir, tmp_path):
    (tmp_path / "mbox").write_bytes(MBOX)
    maildir_import(maildir, tmp_path / "mbox")
    before = tree(maildir)

    result = maildir_import(maildir, tmp_path / "mbox")

    assert result.out == f"{maildir}: INBOX: imported 0 messages from {tmp_path}/mbox, 2 were there already\n"
    assert tree(maildir) == before


def test_a_dry_run_says_of_each_source_what_the_run_does(maildir_import, maildir, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).write_bytes(MBOX)
    (tmp_path / "three").write_bytes(MBOX * 2)
    sources = [tmp_path / name for name in ("one", "two", "three")]
    before = tree(maildir)

    dry = maildir_import(maildir, *sources, "--dry-run", "--json")
    untouched = tree(maildir) == before
    run = maildir_import(maildir, *sources, "--json")

    assert untouched
    assert [(fact["messages"], fact["skipped"]) for fact in dry.facts] == [(2, 0), (0, 2), (2, 2)]
    assert [fact | {"kind": "imported"} for fact in dry.facts] == run.facts


def test_copies_are_counted_for_each_source(maildir_import, maildir, tmp_path):
    (tmp_path / "mbox").write_bytes(MBOX * 2)
    (tmp_path / "other").write_bytes(MBOX * 3)

    for _ in range(2):
        assert maildir_import(maildir, tmp_path / "mbox", tmp_path / "other").code == 0

    assert len(messages(opened(maildir))) == 6


def test_dry_run_changes_nothing(maildir_import, maildir, tmp_path):
    (tmp_path / "mbox").write_bytes(MBOX)
    before = tree(maildir)

    result = maildir_import(maildir, tmp_path / "mbox", "--into", "Old", "--dry-run")

    assert result.out == f"{maildir}: Old: would import 2 messages from {tmp_path}/mbox\n"
    assert tree(maildir) == before


def test_standard_input_into_a_folder_seen(maildir_import, maildir, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(MBOX)))

    result = maildir_import(maildir, "-", "--into", "Archive/2019", "--seen")

    assert (result.code, result.out) == (0, f"{maildir}: Archive/2019: imported 2 messages from -\n")
    found = stored(maildir / ".Archive.2019")
    assert {value[1] for value in found.values()} == {"FRSab", "S"}
    assert (maildir / ".Archive.2019" / "maildirfolder").exists()
    assert "Archive\t2019" in (maildir / "subscriptions").read_text()


def test_single_messages(maildir_import, maildir, tmp_path):
    received = b"Received: by x\r\n\tid 1; Tue, 24 Nov 2026 11:00:00 +0100\r\n"
    received += b"Date: Mon, 1 Jan 2001 00:00:00 +0000\r\n"
    put(tmp_path, "received", received + b"\r\nbody\r\n", 1)
    put(tmp_path, "date.eml", b"Date: Tue, 24 Nov 2026 10:00:05 GMT\n\n", 1)
    put(tmp_path, "none.eml", b"Date: once upon a time\n\nx\n", 7)

    for _ in range(2):
        assert (
            maildir_import(maildir, *(tmp_path / name for name in ("received", "date.eml", "none.eml"))).code
            == 0
        )

    found = stored(maildir)
    assert {value[2] for value in found.values()} == {WHEN, WHEN + 5, 7}
    assert {value[:2] for value in found.values()} == {("cur", "")}
    assert received.replace(b"\r\n", b"\n") + b"\nbody\n" in found


def test_date_of_the_file(maildir_import, maildir, tmp_path):
    put(tmp_path, "x.eml", b"Date: Tue, 24 Nov 2026 10:00:05 GMT\n\n", 99)

    assert maildir_import(maildir, tmp_path / "x.eml", "--dates", "file").code == 0

    assert next(iter(stored(maildir).values()))[2] == 99


def test_interrupted_and_run_again(maildir, tmp_path):
    mbox = b"".join(
        b"From a@b Tue Nov 24 10:00:00 2026\nStatus: RO\nSubject: %d\n\n%s\n\n" % (number, b"x" * number)
        for number in range(4 * filling.GROUP_MESSAGES + 7)
    )
    (tmp_path / "mbox").write_bytes(mbox)
    command = [sys.executable, "-c", "import scripts.importing as i; i.main()", maildir, tmp_path / "mbox"]
    cur = maildir / "cur"
    with subprocess.Popen(command, cwd=ROOT, start_new_session=True) as process:
        wait_for(lambda: len(os.listdir(cur)) >= filling.GROUP_MESSAGES, "the first group")
        os.killpg(process.pid, signal.SIGKILL)
    before = set(os.listdir(cur))
    for name in before:  # whatever shows is complete
        assert f",S={(cur / name).stat().st_size}," in name

    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)

    assert before <= set(os.listdir(cur))
    numbers = sorted(int(data.split(b"\n")[0].split()[1]) for data in stored(maildir))
    assert numbers == list(range(4 * filling.GROUP_MESSAGES + 7))
    assert len(os.listdir(cur)) == len(numbers)


def test_links_in_the_maildir_are_refused(maildir_import, maildir, tmp_path):
    (tmp_path / "mbox").write_bytes(MBOX)
    outside = tmp_path / "outside"
    outside.mkdir()
    (maildir / "cur").rmdir()
    (maildir / "cur").symlink_to(outside)

    result = maildir_import(maildir, tmp_path / "mbox")

    assert result.code == os.EX_NOPERM
    assert list(outside.iterdir()) == []


def test_root_reads_and_writes_with_the_rights_of_the_owners(maildir_import, maildir, tmp_path):
    need("root")
    (tmp_path / "mbox").write_bytes(MBOX)  # root's own, 0600
    (tmp_path / "mbox").chmod(0o600)
    tmp_path.chmod(0o755)
    source = tmp_path / "theirs"
    put(source, "secret.eml", b"Subject: root's\n\n")
    (source / "secret.eml").chmod(0o600)
    shutil.chown(source, "nobody")
    for path in (maildir, *maildir.iterdir()):
        shutil.chown(path, "mail", "mail")

    result = maildir_import(maildir, tmp_path / "mbox", source)

    assert result.code == os.EX_DATAERR
    assert "secret.eml: Permission denied" in result.out
    assert len(stored(maildir)) == 2
    assert {path.owner() for path in maildir.rglob("*")} == {"mail"}


def test_quota_is_told(maildir_import, maildir, tmp_path):
    (tmp_path / "mbox").write_bytes(MBOX)
    (maildir / "maildirsize").write_text("1000S,10C\n0 0\n")

    assert maildir_import(maildir, tmp_path / "mbox").code == 0

    octets = sum(map(len, stored(maildir)))
    assert (maildir / "maildirsize").read_text() == f"1000S,10C\n0 0\n{octets} 2\n"


@pytest.mark.parametrize(
    "arguments, code, words",
    [
        ([], os.EX_USAGE, "which Maildir?"),
        (["{maildir}"], os.EX_USAGE, "what is to be imported?"),
        (["{maildir}", "/no/such"], os.EX_NOINPUT, "/no/such: No such file"),
        (["{maildir}", "/dev/null"], os.EX_DATAERR, "some of the mail could not be read"),
        (["--all", "--mailboxes", "/x/{{user}}", "x"], os.EX_USAGE, "one Maildir at a time"),
        (["{maildir}", __file__], os.EX_DATAERR, "some of the mail could not be read"),
        (["{maildir}/none", __file__], os.EX_NOINPUT, "No such file"),
    ],
)
def test_wrong_usage(maildir_import, maildir, arguments, code, words):
    result = maildir_import(*(each.format(maildir=maildir) for each in arguments))

    assert (result.code, words in result.err) == (code, True), result.err
