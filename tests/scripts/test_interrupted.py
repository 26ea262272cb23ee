"""Scripts that change something, ended before each step and run again: nothing is lost, all is done."""

import itertools
import os
import shutil
import signal
import time

import pytest

from scripts import clean, make
from scripts import quota as quotas
from storage.subscriptions import LOCK_STALE_S
from tests.support.killing import ended_before
from tests.support.quotas import lines_of, make_maildir, put
from tests.support.requirements import need
from tests.support.scripting import new_maildir, runner, tree

HOUR = 3600
CODES = {signal.SIGKILL: -signal.SIGKILL, signal.SIGINT: 130}


@pytest.fixture(params=CODES, ids=lambda how: how.name)
def how(request):
    return request.param


@pytest.fixture
def later(monkeypatch):
    """Let maildir-clean believe that it is so many hours later."""

    def set_clock(hours):
        now = time.time() + hours * HOUR
        monkeypatch.setattr("scripts.clean.time.time", lambda: now)

    return set_clock


def runs(tmp_path, prepare, main, arguments, how):
    """Yield a Maildir for each step before which the script was ended in it."""
    for step in itertools.count(1):
        maildir = tmp_path / str(step) / "box"
        prepare(maildir)
        code = ended_before(step, main, [maildir, *arguments], how)
        if code is None:
            assert step > 1, "it has done next to nothing"
            return
        assert code == CODES[how], code
        yield maildir
        shutil.rmtree(maildir.parent)


def to_be_cleaned(maildir):
    new_maildir(maildir, ".A", ".Empty", ".Empty.Below")
    for folder in ("", ".A/", ".Empty/"):
        (maildir / f"{folder}tmp/1.x").write_text("left")
        (maildir / f"{folder}tmp/2.x").write_text("left")
    (maildir / "cur/3.x:2,S").write_text("mail")
    (maildir / ".A/new/4.x").write_text("mail")
    (maildir / ".Empty/dovecot-uidlist").write_text("3 V1 N1 G0\n")
    (maildir / ".Empty/maildirfolder").touch()
    (maildir / "maildir-check.undo.1").touch()


def test_clean(tmp_path, capfd, later, how):
    later(24 * 40)
    script = runner(clean.main, capfd)

    for maildir in runs(tmp_path, to_be_cleaned, clean.main, ["--empty-folders", "1"], how):
        again = script(maildir, "--empty-folders", "1")

        assert (again.code, again.err) == (0, "")
        assert {name for name, content in tree(maildir).items() if content == b"mail"} == {
            "cur/3.x:2,S", ".A/new/4.x"
        }  # fmt: skip
        assert sorted(os.listdir(maildir)) == [".A", "cur", "new", "tmp"]
        assert not os.listdir(maildir / "tmp") + os.listdir(maildir / ".A/tmp")
        assert script(maildir, "--empty-folders", "1").out == ""


def to_be_counted(maildir):
    put(make_maildir(maildir), 100)
    put(make_maildir(maildir / ".Lists"), 200)
    (maildir / "maildirsize").write_text("1000S,10C\n100 1\n")


@pytest.mark.parametrize(
    "arguments, lines",
    [(["--recalculate"], ["1000S,10C", "300 2"]), (["--limit", "2K"], ["2048S", "300 2"])],
)
def test_quota(tmp_path, capfd, later, how, arguments, lines):
    script = runner(quotas.main, capfd)

    for maildir in runs(tmp_path, to_be_counted, quotas.main, arguments, how):
        # The one or the other, whole: the limit may stand nowhere else.
        assert lines_of(maildir) in (["1000S,10C", "100 1"], lines)

        again = script(maildir, *arguments)

        assert (again.code, lines_of(maildir)) == (0, lines)
        later(1)
        assert runner(clean.main, capfd)(maildir).code == 0
        assert os.listdir(maildir / "tmp") == []


def test_quota_where_there_is_no_file_yet(tmp_path, capfd, how):
    def prepare(maildir):
        to_be_counted(maildir)
        (maildir / "maildirsize").unlink()

    for maildir in runs(tmp_path, prepare, quotas.main, ["--limit", "2K"], how):
        assert not (maildir / "maildirsize").exists() or lines_of(maildir) == ["2048S", "300 2"]

        assert runner(quotas.main, capfd)(maildir, "--limit", "2K").code == 0

        assert lines_of(maildir) == ["2048S", "300 2"]


def test_make(tmp_path, capfd, monkeypatch, how):
    time_was = time.time
    need("root")
    arguments = ["--owner", "mail", "--folder", "A", "--folder", "B/C", "--subscribe"]
    script = runner(make.main, capfd)
    assert script(tmp_path / "whole", *arguments).code == 0

    for maildir in runs(tmp_path, lambda path: path.parent.mkdir(), make.main, arguments, how):
        # Who had the list of subscriptions locked is taken for dead half a minute later.
        monkeypatch.setattr("storage.subscriptions.time.time", lambda: time_was() + LOCK_STALE_S + 1)
        again = script(maildir, *arguments)

        assert (again.code, again.err) == (0, "")
        assert tree(maildir) == tree(tmp_path / "whole")
        for path in (maildir, *maildir.rglob("*")):
            like = tmp_path / "whole" / path.relative_to(maildir)
            assert (path.owner(), path.stat().st_mode) == ("mail", like.stat().st_mode), path
