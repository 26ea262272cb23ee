import os
from stat import S_IMODE

import pytest

from storage import repairs
from storage.findings import Finding, MakeDirectory, MakeFile, Place, RemoveFile, Rename, SetMode, SetOwner
from storage.repairs import SMALL_OCTETS, NotMended, content_of, give, repair
from storage.taking_back import take_back
from storage.undo import UndoLog, latest, steps
from tests.support.requirements import need
from tests.support.scripting import new_maildir, opened, tree

IN_CUR = Place((), "cur", "x:2,S")


@pytest.fixture
def maildir(tmp_path):
    path = new_maildir(tmp_path / "bob")
    (path / "cur/x:2,S").write_text("hello")
    return path


def mended(maildir, *findings):
    log = UndoLog(opened(maildir), now=1)
    try:
        return [outcome.error for outcome in repair(opened(maildir), findings, log)]
    finally:
        log.close()


def undone(maildir):
    name = latest(opened(maildir))
    assert name is not None
    return [taken.error for taken in take_back(opened(maildir), name, dry_run=False)]


def finding(place, fix, kind="k"):
    return Finding(kind, place, "", fix=fix)


CASES = {
    "rename": (finding(IN_CUR, Rename("cur", "y:2,S")), "cur/y:2,S"),
    "move": (finding(IN_CUR, Rename("new", "x")), "new/x"),
    "mode": (finding(IN_CUR, SetMode(0o640)), "cur/x:2,S"),
    "file": (finding(Place((), "", "maildirfolder"), MakeFile(b"")), "maildirfolder"),
}


@pytest.mark.parametrize("case", CASES)
def test_there_and_back(maildir, case):
    wanted, path = CASES[case]
    before = tree(maildir)

    assert mended(maildir, wanted) == [""]
    assert (maildir / path).exists()
    assert undone(maildir) == [""]
    assert tree(maildir) == before


def test_a_directory_and_a_file_that_go_and_come(maildir):
    (maildir / "tmp").rmdir()
    (maildir / "maildirfolder").write_bytes(b"\x00\xff")
    before = tree(maildir)

    errors = mended(
        maildir,
        finding(Place((), "tmp", ""), MakeDirectory(0o700)),
        finding(Place((), "", "maildirfolder"), RemoveFile()),
    )

    assert errors == ["", ""]
    assert (maildir / "tmp").is_dir()
    assert not (maildir / "maildirfolder").exists()
    assert undone(maildir) == ["", ""]
    assert tree(maildir) == before


def test_nothing_to_mend_leaves_no_log(maildir):
    assert mended(maildir, finding(IN_CUR, None)) == []
    assert latest(opened(maildir)) is None


@pytest.mark.parametrize(
    "place, fix, text",
    [
        (Place((), "cur", "gone:2,"), Rename("cur", "y:2,"), "No such file"),
        (IN_CUR, Rename("new", "taken"), "a file of this name is there"),
        (IN_CUR, SetMode(0o600), "somebody else did it"),
        (Place((), "", "maildirsize"), MakeFile(b"new", instead_of=b"old"), "it has changed meanwhile"),
        (Place((), "", "large"), RemoveFile(), f"more than {SMALL_OCTETS} octets"),
    ],
)
def test_what_is_not_as_it_was_found_is_left(maildir, place, fix, text):
    (maildir / "cur/x:2,S").chmod(0o600)
    (maildir / "new/taken").touch()
    (maildir / "large").write_bytes(bytes(SMALL_OCTETS + 1))
    before = tree(maildir)

    (error,) = mended(maildir, finding(place, fix))

    assert text in error
    assert tree(maildir) == before


def test_of_several_names_the_last_is_given_and_all_are_told(maildir):
    errors = mended(
        maildir,
        finding(IN_CUR, Rename("cur", "y:2,S")),
        finding(IN_CUR, SetMode(0o640)),
        finding(IN_CUR, Rename("cur", "y,S=5:2,S")),
    )

    assert errors == ["", "", ""]
    assert S_IMODE((maildir / "cur/y,S=5:2,S").stat().st_mode) == 0o640
    assert [step.do for step in steps(opened(maildir), "maildir-check.undo.1")] == ["mode", "rename"]


def test_the_log_is_there_before_the_first_deed(maildir, monkeypatch):
    class Power(Exception):
        pass

    def cut(*arguments):
        raise Power

    monkeypatch.setattr(repairs, "move", cut)
    before = tree(maildir)

    with pytest.raises(Power):
        mended(maildir, finding(IN_CUR, Rename("cur", "y:2,S")))

    assert [step.name for step in steps(opened(maildir), "maildir-check.undo.1")] == ["y:2,S"]
    assert undone(maildir) == [""]  # what was never done is nothing to undo
    assert tree(maildir) == before


def test_a_mode_is_not_set_through_a_link(maildir, tmp_path):
    secret = tmp_path / "secret"
    secret.touch(mode=0o600)
    (maildir / "cur/link:2,").symlink_to(secret)

    (error,) = mended(maildir, finding(Place((), "cur", "link:2,"), SetMode(0o640)))

    assert S_IMODE(secret.stat().st_mode) == 0o600
    assert error


def test_an_owner_is_not_changed_through_a_link_or_for_two_names(maildir, tmp_path):
    need("root")
    secret = tmp_path / "secret"
    secret.touch()
    (maildir / "cur/link:2,").symlink_to(secret)
    os.link(maildir / "cur/x:2,S", tmp_path / "second")

    for name in ("link:2,", "x:2,S"):
        with pytest.raises(NotMended):
            give(opened(maildir), Place((), "cur", name), 0, 8, 8)

    assert secret.stat().st_uid == (maildir / "cur/x:2,S").stat().st_uid == 0


def test_an_owner_that_changed_meanwhile_is_left(maildir):
    need("root")

    with pytest.raises(NotMended):
        give(opened(maildir), IN_CUR, 1, 8, 8)

    assert mended(maildir, finding(IN_CUR, SetOwner(8, 8))) == [""]
    assert (maildir / "cur/x:2,S").stat().st_uid == 8


def test_half_a_file_of_a_dead_run_is_written_over(maildir):
    (maildir / "maildirsize.new").write_text("half")

    assert mended(maildir, finding(Place((), "", "maildirsize"), MakeFile(b"1S\n1 1\n"))) == [""]

    assert content_of(opened(maildir), Place((), "", "maildirsize")) == b"1S\n1 1\n"
    assert not (maildir / "maildirsize.new").exists()
