"""`maildir-check --repair` and `--undo`: whose files, which rights, and what happened meanwhile."""

import json
import os
from stat import S_IMODE

import pytest

from scripts.check import main
from tests.support.checked import BASE, GOOD, TEXT, found, proper_maildir, put, state
from tests.support.requirements import need
from tests.support.scripting import runner


@pytest.fixture
def check(capfd):
    return runner(main, capfd)


@pytest.fixture
def maildir(tmp_path):
    return proper_maildir(tmp_path / "bob")


def test_owners_are_mended_by_root_and_taken_back(maildir, check):
    need("root")
    for each in (maildir, *maildir.iterdir()):
        os.chown(each, 8, 8)
    path = put(maildir, f"cur/{GOOD}:2,")
    before = state(maildir)

    result = check(maildir, "--repair", "--json")

    assert found(result) == [("owner", f"cur/{GOOD}:2,")]
    assert (path.stat().st_uid, path.stat().st_gid) == (8, 8)
    assert next(maildir.glob("maildir-check.undo.*")).stat().st_uid == 0
    check(maildir, "--undo")
    assert state(maildir) == before


def test_a_file_with_a_second_name_elsewhere_is_not_given_away(maildir, tmp_path, check):
    need("root")
    for each in (maildir, *maildir.iterdir()):
        os.chown(each, 8, 8)
    secret = tmp_path / "secret"
    secret.write_bytes(TEXT)
    secret.chmod(0o600)
    os.link(secret, maildir / f"cur/{GOOD}:2,")

    result = check(maildir, "--repair", "--json")

    assert [(fact["kind"], fact["repairable"]) for fact in result.facts] == [("owner", False)]
    assert secret.stat().st_uid == 0


def test_root_believes_no_undo_log_but_its_own(maildir, check):
    need("root")
    put(maildir, f"cur/{GOOD}:2,")
    line = json.dumps(["owner", [[], "cur", f"{GOOD}:2,"], "", "", [8, 8], None])
    put(maildir, "maildir-check.undo.1", line.encode() + b"\n")
    for each in (maildir, *maildir.rglob("*")):
        os.chown(each, 1, 1)

    result = check(maildir, "--undo")

    assert result.code == os.EX_NOPERM
    assert "not root's" in result.err
    assert (maildir / f"cur/{GOOD}:2,").stat().st_uid == 1


def test_a_dry_run_of_a_repair_and_of_taking_it_back(maildir, check):
    put(maildir, f"cur/{GOOD}:2,SF")
    result = check(maildir, "--repair", "--dry-run", "--json")
    assert [fact["repair"] for fact in result.facts] == ["would be done"]
    assert (maildir / f"cur/{GOOD}:2,SF").exists()

    check(maildir, "--repair")
    result = check(maildir, "--undo", "--dry-run", "--json")
    assert [fact["text"] for fact in result.facts] == ["rename: would be taken back"]
    assert (maildir / f"cur/{GOOD}:2,FS").exists()


def test_flags_that_came_after_the_repair_stay_when_it_is_taken_back(maildir, check):
    put(maildir, f"cur/{BASE},S=17:2,")
    check(maildir, "--repair")
    (maildir / f"cur/{BASE},S=18:2,").rename(maildir / f"cur/{BASE},S=18:2,RS")

    result = check(maildir, "--undo")

    assert result.code == 0
    assert (maildir / f"cur/{BASE},S=17:2,RS").exists()


def test_what_is_gone_is_said_when_it_is_taken_back(maildir, check):
    put(maildir, f"cur/{BASE},S=17:2,")
    check(maildir, "--repair")
    (maildir / f"cur/{BASE},S=18:2,").unlink()

    result = check(maildir, "--undo", "--json")

    assert [fact["text"] for fact in result.facts] == ["rename: the message is gone"]
    assert list(maildir.glob("maildir-check.undo.*"))


def test_a_name_that_is_taken_is_not_written_over(maildir, check):
    put(maildir, f"new/{GOOD}:2,S", TEXT)
    put(maildir, f"cur/{GOOD}:2,S", b"Subject: y\n\nhello\n")

    result = check(maildir, "--repair", "--json")

    assert "a file of this name is there" in [fact.get("repair") for fact in result.facts]
    assert (maildir / f"cur/{GOOD}:2,S").read_bytes() == b"Subject: y\n\nhello\n"
    assert (maildir / f"new/{GOOD}:2,S").read_bytes() == TEXT


def test_a_locked_folder_is_left_alone(maildir, check, monkeypatch):
    monkeypatch.setattr("storage.dotlock.WAIT_S", 0.0)
    put(maildir, f"cur/{BASE},S=17:2,")
    put(maildir, "dovecot-uidlist", f"3 V1 N8\n7 :{BASE},S=17\n".encode())
    put(maildir, "dovecot-uidlist.lock", b"1:elsewhere")

    result = check(maildir, "--repair")

    assert "dovecot-uidlist.lock is held by another program: 1:elsewhere" in result.err
    assert (maildir / f"cur/{BASE},S=17:2,").exists()


def test_modes_are_judged_for_directories_too(maildir, check):
    (maildir / "cur").chmod(0o755)

    check(maildir, "--repair")

    assert S_IMODE((maildir / "cur").stat().st_mode) == 0o750
