"""Quota and watch where the Maildir is broken: the truth or an error, and nothing outside is touched."""

import os
import shutil
import signal

import pytest

from scripts import quota
from tests.support.quotas import lines_of, make_maildir, put
from tests.support.requirements import need
from tests.support.scripting import new_maildir, runner
from tests.support.watching import PATIENCE_S, watching


@pytest.fixture
def outside(tmp_path):
    """What no script may look into: mail of somebody else."""
    return new_maildir(tmp_path / "outside/eve")


@pytest.fixture
def broken(tmp_path, outside):
    """A Maildir with two messages, 300 octets, and whatever else could lie in it."""
    put(outside, 5000)
    maildir = make_maildir(tmp_path / "mail/bob")
    put(maildir, 100)
    put(make_maildir(maildir / ".A"), 200, named=False)
    os.mkfifo(maildir / "cur/1.fifo:2,")
    (maildir / "cur/2.directory:2,").mkdir()
    (maildir / "new/3.link").symlink_to(next((outside / "cur").iterdir()))
    (maildir / "new/.hidden").write_bytes(b"x" * 1000)
    (maildir / os.fsdecode(b"cur/\xff\xfe\n:2,")).touch()
    (maildir / ".Link").symlink_to(outside)
    (maildir / ".File").write_text("no folder")
    for name in (".Half", ".Links", ".Files"):
        (maildir / name).mkdir()
    (maildir / ".Half/cur").mkdir()
    (maildir / ".Links/cur").symlink_to(outside / "cur")
    (maildir / ".Files/tmp").mkdir()
    (maildir / ".Files/cur").write_text("no directory")
    return maildir


@pytest.fixture
def maildir_quota(capfd):
    return runner(quota.main, capfd)


def shape(path):
    """What is below path, unopened: there are pipes."""
    return {each: (os.lstat(each).st_ino, os.lstat(each).st_mtime_ns) for each in path.rglob("*")}


# ---- quota


COUNTED = (300, 3)  # the message with the odd name is empty


def counted(result):
    return [(fact["octets"], fact["messages"]) for fact in result.facts]


def test_quota_counts_messages_and_nothing_else(broken, maildir_quota):
    before = shape(broken.parent.parent)

    result = maildir_quota(broken, "--count", "--json")

    assert (result.code, result.err, counted(result)) == (0, "", [COUNTED])
    assert shape(broken.parent.parent) == before


TORN = [
    b"", b"1000S,10C", b"1000S,10C\n", b"1000S,10C\n100 1", b"1000S,10C\n100 1\n50", b"1000S,10C\n100\n",
    b"1000S,10C\n100 1\n-200 -2\n", b"1000S,10C\n99999999999999999999 1\n", b"1000S,10C\n\0\0\0\n",
    b"1000S,10C\n" + 1300 * b"1 1\n",
]  # fmt: skip


@pytest.mark.parametrize("content", TORN, ids=range(len(TORN)))
def test_a_torn_file_is_not_believed_and_is_mended(broken, maildir_quota, content):
    (broken / "maildirsize").write_bytes(content)

    shown = maildir_quota(broken, "--json")
    assert (broken / "maildirsize").read_bytes() == content
    mended = maildir_quota(broken, "--recalculate", "--json")

    assert (shown.code, counted(shown)) == (mended.code, counted(mended)) == (0, [COUNTED])
    has_limit = content.startswith(b"1000S,10C\n")
    assert lines_of(broken)[1] == "300 3"
    assert lines_of(broken)[0] == ("1000S,10C" if has_limit else "0S"), content


@pytest.mark.parametrize("what", ["pipe", "link", "device", "directory", "nowhere"])
@pytest.mark.parametrize("arguments", [[], ["--count"], ["--recalculate"], ["--limit", "2K"]])
def test_what_is_no_file_is_left_alone_and_stops_no_other(broken, outside, maildir_quota, what, arguments):
    put(make_maildir(broken.parent / "carol"), 70)
    (outside / "maildirsize").write_text("7S\n")
    file = broken / "maildirsize"
    match what:
        case "pipe":
            os.mkfifo(file)
        case "directory":
            file.mkdir()
        case _:
            targets = {"link": outside / "maildirsize", "device": "/dev/zero", "nowhere": outside / "none"}
            file.symlink_to(targets[what])
    before = shape(broken), shape(outside)

    result = maildir_quota(
        "--all",
        "--mailboxes",
        f"{broken.parent}/{{user}}",
        "--set",
        "quota.default=maildirsize",
        *arguments,
        "--json",
    )

    assert result.code in (os.EX_NOPERM, os.EX_IOERR)
    assert f"{broken}: " in result.err
    assert "bug" not in result.err
    assert [(fact["user"], fact["octets"]) for fact in result.facts] == [("carol", 70)]
    assert (shape(broken), shape(outside)) == before
    assert (outside / "maildirsize").read_text() == "7S\n"


def test_what_cannot_be_read_is_not_counted_as_nothing(broken, maildir_quota):
    need("root")
    (broken / "maildirsize").write_text("1000S,10C\n100 1\n")
    for path in (broken, *broken.rglob("*")):
        os.chown(path, 8, 8, follow_symlinks=False)
    (broken / ".A").chmod(0)

    results = [maildir_quota(broken, argument) for argument in ("--count", "--recalculate")]

    assert [result.code for result in results] == [os.EX_NOPERM] * 2
    assert "Permission denied" in results[0].err
    assert lines_of(broken) == ["1000S,10C", "100 1"]


# ---- watch


def test_watch_tells_of_mail_and_of_nothing_outside(broken, outside):
    before = shape(outside)
    with watching(broken) as watch:
        (outside / "new/9.outside").touch()
        (broken / "new/4.x").touch()
        assert watch.next() == ("arrived", "new/4.x")
        (broken / ".A/new/5.x").touch()
        assert watch.next() == ("arrived", "new/5.x")
        (outside / "new/9.outside").unlink()
        (broken / "new/4.x").unlink()
        assert watch.next() == ("deleted", "new/4.x")
        watch.process.send_signal(signal.SIGTERM)
        assert watch.process.wait(PATIENCE_S) == 0
        assert watch.rest() == []
        assert watch.said.empty()

    assert set(shape(outside)) == set(before)


@pytest.mark.parametrize("instead", ["file", "link", "nothing", "pipe"])
def test_watch_goes_on_where_a_folder_breaks(broken, outside, instead):
    with watching(broken) as watch:
        shutil.rmtree(broken / ".A/new")
        match instead:
            case "file":
                (broken / ".A/new").touch()
            case "link":
                (broken / ".A/new").symlink_to(outside / "new")
            case "pipe":
                os.mkfifo(broken / ".A/new")
        (outside / "new/9.outside").touch()
        (broken / "new/4.x").touch()
        facts = [watch.next()]
        (broken / "new/4.x").unlink()
        facts.append(watch.next())
        watch.process.send_signal(signal.SIGTERM)
        assert watch.process.wait(PATIENCE_S) == 0
        facts += [(fact["kind"], fact["name"]) for fact in watch.rest()]

    assert facts == [("arrived", "new/4.x"), ("deleted", "new/4.x")]
    assert watch.said.qsize() <= 3


def test_watch_of_all_goes_on_where_one_breaks(broken, outside):
    good = new_maildir(broken.parent / "carol")
    with watching("--all", "--mailboxes", f"{broken.parent}/{{user}}") as watch:
        shutil.rmtree(broken)
        broken.symlink_to(outside)
        (outside / "new/9.outside").touch()
        (good / "new/1.x").touch()
        while (fact := watch.fact())["user"] != "carol":
            assert fact["kind"] == "deleted", fact
        assert fact["name"] == "new/1.x"
