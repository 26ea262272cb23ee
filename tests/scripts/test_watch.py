"""`maildir-watch`, started as it is in life: a process that is told nothing but by the kernel."""

import json
import os
import shutil
import signal
import sys

import pytest

from scripts.watch import main
from tests.support.requirements import need
from tests.support.scripting import new_maildir, runner
from tests.support.watching import PATIENCE_S, watching


@pytest.fixture
def maildir(tmp_path):
    return new_maildir(tmp_path / "mail/bob", ".A")


def test_what_happens_to_a_message_and_a_clean_end(maildir):
    with watching(maildir) as watch:
        (maildir / "tmp/1.x").touch()
        (maildir / "tmp/1.x").rename(maildir / "new/1.x")
        arrived = watch.next()
        (maildir / "new/1.x").rename(maildir / "cur/1.x:2,S")
        flagged = watch.next()
        (maildir / "cur/1.x:2,S").unlink()
        deleted = watch.next()
        watch.process.send_signal(signal.SIGTERM)
        code = watch.process.wait(PATIENCE_S)

    assert [arrived, flagged, deleted] == [
        ("arrived", "new/1.x"), ("flags", "cur/1.x:2,S"), ("deleted", "cur/1.x:2,S")
    ]  # fmt: skip
    assert code == 0


def test_all_mailboxes_also_those_that_come_later(maildir, tmp_path):
    with watching("--all", "--mailboxes", f"{tmp_path}/mail/{{user}}", "--count", "2") as watch:
        (new_maildir(tmp_path / "mail/eve") / "new/2.x").touch()
        later = json.loads(watch.lines.get(timeout=PATIENCE_S))
        (maildir / ".A/new/1.x").touch()
        folder = json.loads(watch.lines.get(timeout=PATIENCE_S))
        code = watch.process.wait(PATIENCE_S)

    assert (later["user"], later["kind"], later["name"]) == ("eve", "arrived", "new/2.x")
    assert (folder["user"], folder["folder"]) == ("bob", "A")
    assert folder["path"] == f"{maildir}/.A/new/1.x"
    assert code == 0


def test_all_users_of_a_file_wherever_their_mailboxes_are(maildir, tmp_path):
    new_maildir(tmp_path / "far/eve")
    lines = [f"{user}@example.org:::::::userdb_mail=maildir:{tmp_path}/{where}\n"
             for user, where in (("bob", "mail/bob"), ("eve", "far/eve"), ("new", "far/new"))]  # fmt: skip
    (tmp_path / "users").write_text("".join(lines))
    (tmp_path / "lmtpd.toml").write_text(f'[[recipients]]\nsource = "file"\nfile = "{tmp_path}/users"\n')
    with watching("--all", "--config", tmp_path / "lmtpd.toml", "--rescan", "3600", "--count", "2") as watch:
        (maildir / "new/1.x").touch()
        first = json.loads(watch.lines.get(timeout=PATIENCE_S))
        (tmp_path / "far/eve/new/2.x").touch()
        second = json.loads(watch.lines.get(timeout=PATIENCE_S))

    assert (first["user"], first["name"]) == ("bob@example.org", "new/1.x")
    assert (second["user"], second["name"]) == ("eve@example.org", "new/2.x")


def test_only_some_kinds(maildir):
    (maildir / "cur/old:2,").touch()
    with watching(maildir, "--only", "deleted") as watch:
        (maildir / "new/1.x").touch()
        (maildir / "cur/old:2,").unlink()

        assert watch.next() == ("deleted", "cur/old:2,")


def test_lost_notices_are_made_up_for(maildir):
    with open("/proc/sys/fs/inotify/max_queued_events") as file:
        queued = int(file.read())
    (maildir / "cur/old:2,").touch()
    with watching(maildir, "--rescan", "3600") as watch:
        # While it stands still the kernel's queue runs over; what comes last is lost.
        watch.process.send_signal(signal.SIGSTOP)
        for number in range(queued):
            (maildir / f"tmp/{number}").touch()
            (maildir / f"tmp/{number}").unlink()
        (maildir / "new/1.x").touch()
        (maildir / "cur/old:2,").rename(maildir / "cur/old:2,S")
        watch.process.send_signal(signal.SIGCONT)
        seen = {watch.next(), watch.next()}
        said = watch.said.get(timeout=PATIENCE_S)

    assert seen == {("arrived", "new/1.x"), ("flags", "cur/old:2,S")}
    assert "notices were lost" in said


def test_a_command_for_each_change(maildir, tmp_path):
    # Names that would do harm in a shell.
    command = f"{sys.executable} {tmp_path}/note.py {{kind}} '{{folder}} {{name}}' {{path}}"
    (tmp_path / "note.py").write_text(
        f"import json, sys\nopen({str(tmp_path / 'out')!r}, 'a').write(json.dumps(sys.argv[1:]) + chr(10))\n"
    )
    with watching(maildir, "--exec", command, "--count", "1") as watch:
        (maildir / "new/1.$(touch x); {kind}").touch()
        assert watch.process.wait(PATIENCE_S) == 0

    name = "new/1.$(touch x); {kind}"
    assert json.loads((tmp_path / "out").read_text()) == ["arrived", f"INBOX {name}", f"{maildir}/{name}"]


@pytest.mark.parametrize(
    "arguments, code, text",
    [
        (["--exec", "''"], os.EX_USAGE, "--exec"),
        (["--exec", "'x"], os.EX_USAGE, "No closing quotation"),
        (["--webhook", "file:///etc/passwd"], os.EX_USAGE, "http"),
        (["--only", "read"], os.EX_USAGE, "arrived"),
        (["--rescan", "0"], os.EX_USAGE, "rescan"),
    ],
)
def test_what_cannot_be_done_is_said(maildir, capfd, arguments, code, text):
    result = runner(main, capfd)(maildir, *arguments)

    assert result.code == code
    assert text in result.err


def test_a_maildir_that_is_not_there(tmp_path, capfd):
    result = runner(main, capfd)(tmp_path / "none")

    assert result.code == os.EX_NOINPUT
    assert "No such file" in result.err


@pytest.mark.parametrize(
    "flags, word",
    [
        (("--exec", "/no/such/program {path}"), "no such program"),
        (("--exec", "/etc/passwd"), "no such program"),
        (("--exec", "echo {pth}"), "{pth} stands for nothing"),
        (("--webhook", "http://"), "--webhook"),
        (("--webhook", "ftp://push.example.org/"), "--webhook"),
        (("--webhook", "https://push.example.org:99999/"), "--webhook"),
        (("--webhook", "https://push.example.org/a b"), "--webhook"),
        (("--exec", "echo {pth}", "--webhook", "https://push.example.org/"), "--exec"),
    ],
)
def test_what_could_never_be_sent_is_said_before_it_starts(maildir, capfd, flags, word):
    result = runner(main, capfd)(maildir, *flags)

    assert result.code == os.EX_USAGE
    assert word in result.err
    assert "watching" not in result.err


def test_root_looks_with_the_rights_of_the_owner(maildir, capfd):
    need("root")
    for path in (maildir, *maildir.rglob("*")):
        shutil.chown(path, "nobody")
    (maildir / "new").chmod(0)  # which keeps the owner out, and would not keep root out

    result = runner(main, capfd)(maildir, "--count", "1")

    assert result.code == os.EX_NOPERM
    assert "new: Permission denied" in result.err


def test_root_sees_what_the_owner_sees(maildir):
    need("root")
    for path in (maildir, *maildir.rglob("*")):
        shutil.chown(path, "nobody")
        path.chmod(0o700)
    with watching(maildir, "--dry-run") as watch:
        (maildir / "new/1.x").touch()

        assert watch.next() == ("arrived", "new/1.x")
