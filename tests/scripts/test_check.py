import gzip
import os
import shutil

import pytest

from scripts.check import EX_FOUND, main
from tests.support.checked import BASE, GOOD, TEXT, found, proper_maildir, put, state
from tests.support.requirements import need
from tests.support.scripting import new_maildir, runner


@pytest.fixture
def check(capfd):
    return runner(main, capfd)


@pytest.fixture
def maildir(tmp_path):
    return proper_maildir(tmp_path / "bob")


def test_a_maildir_in_order_has_no_findings(maildir, check):
    put(maildir, f"new/{GOOD}")
    put(maildir, "cur/1764000001.x,S=9:2,FSab", b"Subject:\n")
    put(maildir, "cur/1764000002.V1I2.host:2,", b"From:\n")
    put(maildir, "subscriptions")

    result = check(maildir, "--contents")

    assert (result.code, result.err) == (0, "")
    assert result.out == "3 messages in 1 Maildir: 0 faults, 0 notes, 0 repaired\n"


@pytest.mark.parametrize(
    "name, content, mode, kind, becomes",
    [
        (f"cur/{BASE},S=17,W=21:2,", TEXT, 0o600, "size", f"cur/{BASE},S=18:2,"),
        (f"cur/{BASE},S=19,W=21:2,S", TEXT, 0o600, "torn", f"cur/{BASE},S=18:2,S"),
        (f"new/{GOOD}:2,S", TEXT, 0o600, "flags", f"cur/{GOOD}:2,S"),
        (f"cur/{GOOD}", TEXT, 0o600, "flags", f"cur/{GOOD}:2,"),
        (f"cur/{GOOD}:2,SF", TEXT, 0o600, "flags", f"cur/{GOOD}:2,FS"),
        (f"cur/{GOOD}:2,SSa", TEXT, 0o600, "flags", f"cur/{GOOD}:2,Sa"),
        (f"{GOOD}", TEXT, 0o600, "stray", f"new/{GOOD}"),
        (f"{GOOD}:2,S", TEXT, 0o600, "stray", f"cur/{GOOD}:2,S"),
        (f"cur/{GOOD}:2,", TEXT, 0o604, "mode", None),
        (f"cur/{GOOD}:2,", TEXT, 0o200, "mode", None),
    ],
)
def test_what_is_wrong_is_found_mended_and_taken_back(maildir, check, name, content, mode, kind, becomes):
    path = put(maildir, name, content, mode)
    os.utime(path, (1_600_000_000, 1_600_000_000))
    before = state(maildir) if mode != 0o200 or os.geteuid() == 0 else None

    assert found(check(maildir, "--json")) == [(kind, name)]
    mended = check(maildir, "--repair", "--json")
    again = check(maildir)
    path = maildir / (becomes or name)
    mtime = path.stat().st_mtime
    undone = check(maildir, "--undo")

    assert [fact["repair"] for fact in mended.facts] == ["done"]
    assert (mended.code, again.code) == (0, 0)
    assert mtime == 1_600_000_000
    assert undone.code == 0
    assert before is None or state(maildir) == before
    assert not list(maildir.glob("maildir-check*"))


@pytest.mark.parametrize(
    "name, kind",
    [
        ("cur/1764000001.a\x07b,S=18:2,", "name"),
        ("cur/1764000001.\x85,S=18:2,", "name"),
        ("cur/1764000001.,S=18:2,", "name"),
        ("cur/176400000x.a,S=18:2,", "name"),
        ("cur/176400000\u00b2.a,S=18:2,", "name"),
        (f"cur/{BASE},S=180:2,", "torn"),
        (f"cur/{BASE},S=1:2,", "size"),
        (f"new/{BASE},S=18:", "name"),
        ("cur/1764000001.\u00e4,S=18:2,", None),
        ("cur/1764000001.a,X=1,S=18:2,", None),
    ],
)
def test_a_name_that_is_nearly_usual_is_looked_at_closely(maildir, check, name, kind):
    put(maildir, name)

    assert [each for each, _ in found(check(maildir, "--json"))][:1] == ([kind] if kind else [])


def test_flags_that_were_in_order_once_do_not_excuse_others(maildir, check):
    for number in range(4):
        put(maildir, f"cur/176400000{number}.x,S=18:2,FSab")
    put(maildir, "cur/1764000005.x,S=18:2,FSba")

    assert found(check(maildir, "--json")) == [("flags", "cur/1764000005.x,S=18:2,FSba")]


def test_structure_and_markers_are_mended_and_taken_back(maildir, check):
    new_maildir(maildir / ".A")
    (maildir / ".A/cur").rmdir()
    put(maildir, "maildirfolder", b"")
    for each in ((maildir / ".A"), *(maildir / ".A").iterdir()):
        each.chmod(0o700)
    before = state(maildir)

    result = check(maildir, "--repair", "--json")

    assert sorted(found(result)) == [
        ("marker", ".A/maildirfolder"),
        ("marker", "maildirfolder"),
        ("structure", ".A/cur"),
    ]
    assert check(maildir).code == 0
    check(maildir, "--undo")
    assert state(maildir) == before


def test_what_only_people_can_decide_is_told_and_left(maildir, check, tmp_path):
    put(maildir, f"cur/{BASE}:2,", b"")
    put(maildir, "cur/.hidden")
    put(maildir, "cur/x\ny:2,")
    (maildir / "new/folder").mkdir()
    (maildir / "new/link").symlink_to(tmp_path)
    (maildir / ".Out").symlink_to(tmp_path)
    (maildir / "oddity").mkdir()
    os.mkfifo(maildir / "pipe")
    before = sorted(os.listdir(maildir / "cur"))

    result = check(maildir, "--repair", "--json")

    assert result.code == EX_FOUND
    assert sorted(found(result)) == [
        ("empty", f"cur/{BASE}:2,"),
        ("link", ".Out"),
        ("name", "cur/x\ny:2,"),
        ("stray", "cur/.hidden"),
        ("stray", "new/folder"),
        ("stray", "new/link"),
        ("stray", "oddity"),
        ("stray", "pipe"),
    ]
    assert sorted(os.listdir(maildir / "cur")) == before
    assert not list(maildir.glob("maildir-check*"))


def test_a_message_twice_under_one_name(maildir, check):
    put(maildir, f"cur/{GOOD}:2,S")
    put(maildir, f"new/{GOOD}")

    assert found(check(maildir, "--json")) == [("twice", f"cur/{GOOD}:2,S")]


def test_compressed_mail_has_its_plain_size_in_its_name(maildir, check):
    put(maildir, f"cur/{BASE},S=18,W=21:2,", gzip.compress(TEXT))

    assert check(maildir, "--contents").code == 0


def test_contents_are_read_on_demand(maildir, check):
    put(maildir, f"cur/{BASE},S=18,W=18:2,")
    put(maildir, "cur/1764000001.x:2,", b"Subject: x\n" + bytes(600))
    put(maildir, "cur/1764000002.x,S=18:2,")

    assert check(maildir).code == 0
    result = check(maildir, "--contents", "--repair", "--json")

    assert {fact["kind"]: fact.get("becomes") for fact in result.facts} == {
        "wire_size": f"cur/{BASE},S=18,W=21:2,",
        "torn": None,
        "duplicate": None,
    }


@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
def test_line_ends_are_counted_across_the_pieces_that_are_read(maildir, check, end):
    text = b"x" * ((1 << 20) - 1) + end + b"y\r\n"
    wire = len(text) + (end == b"\n")
    put(maildir, f"cur/{BASE},S={len(text)},W={wire}:2,", text)

    assert check(maildir, "--contents").code == 0


def test_what_is_no_maildir_is_left_as_it_is(check, tmp_path):
    """Of /etc, named by mistake, a repair would have made a Maildir, with a Maildir's mode."""
    place = tmp_path / "etc"
    (place / "sub").mkdir(parents=True)
    (place / "passwd").write_text("root\n")
    place.chmod(0o755)

    result = check(place, "--repair")

    assert result.code == os.EX_NOPERM
    assert "no Maildir" in result.err
    assert sorted(each.name for each in place.iterdir()) == ["passwd", "sub"]
    assert place.stat().st_mode & 0o777 == 0o755


def test_what_cannot_be_read_is_a_finding(maildir, check):
    need("root")
    put(maildir, f"new/{GOOD}")
    unreadable = put(maildir, "cur/1764000001.x,S=18:2,")
    shutil.chown(maildir, "nobody")
    for path in maildir.rglob("*"):
        shutil.chown(path, "nobody")
    shutil.chown(unreadable, "root")

    result = check(maildir, "--contents", "--json")

    assert result.code == EX_FOUND
    told = {(fact["kind"], fact["name"]): fact.get("text") for fact in result.facts if "name" in fact}
    assert told["unreadable", "cur/1764000001.x,S=18:2,"] == "cannot be read: Permission denied"
    assert [name for kind, name in told if kind == "unreadable"] == ["cur/1764000001.x,S=18:2,"]


def test_a_link_is_told_of_once(maildir, check):
    (maildir / "cur/1764000001.x:2,").symlink_to("/etc/passwd")

    assert [kind for kind, _ in found(check(maildir, "--contents", "--json"))] == ["stray"]
