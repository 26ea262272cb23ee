"""`maildir-check` against what others say of a Maildir: Dovecot, the ledger, quotas, other mailboxes."""

import os
import sqlite3
from contextlib import closing

import pytest

from scripts.check import EX_FOUND, main
from storage.ledger_tables import SCHEMA
from tests.support.checked import BASE, GOOD, found, proper_maildir, put
from tests.support.scripting import new_maildir, runner


@pytest.fixture
def check(capfd):
    return runner(main, capfd)


@pytest.fixture
def maildir(tmp_path):
    return proper_maildir(tmp_path / "bob")


def test_folders_that_differ_in_case(maildir, check):
    for name in (".Work", ".work"):
        new_maildir(maildir / name)

    result = check(maildir, "--json")

    assert ("case_twin", ".work") in found(result)


def test_mailboxes_that_differ_in_case(tmp_path, check):
    for name in ("Bob", "bob"):
        new_maildir(tmp_path / name)

    result = check("--all", "--mailboxes", f"{tmp_path}/{{user}}", "--json")

    assert [fact["user"] for fact in result.facts if fact["kind"] == "case_twin"] == ["bob"]


def test_a_wrong_maildirsize_is_counted_anew_and_keeps_its_limit(maildir, check):
    put(maildir, f"cur/{GOOD}:2,")
    put(maildir, "maildirsize", b"1000S,10C\n17 1\n")

    result = check(maildir, "--repair", "--json")

    assert found(result) == [("maildirsize", "maildirsize")]
    assert (maildir / "maildirsize").read_bytes() == b"1000S,10C\n18 1\n"
    check(maildir, "--undo")
    assert (maildir / "maildirsize").read_bytes() == b"1000S,10C\n17 1\n"


def test_a_maildirsize_without_the_trash_is_right_too(maildir, check):
    put(maildir, f"cur/{GOOD}:2,T")
    put(maildir, "maildirsize", b"1000S\n0 0\n")

    assert check(maildir).code == 0


def uidlist(maildir, *lines):
    put(maildir, "dovecot-uidlist", "\n".join(lines).encode() + b"\n")


def test_uids_stay_with_their_messages(maildir, check):
    put(maildir, f"cur/{BASE},S=17,W=21:2,S")
    uidlist(maildir, "3 V1764000000 N8 G0123", f"7 W21 S17 :{BASE},S=17,W=21")
    before = (maildir / "dovecot-uidlist").read_bytes()

    check(maildir, "--repair")

    assert (maildir / "dovecot-uidlist").read_text() == (
        f"3 V1764000000 N8 G0123\n7 G{BASE},S=17,W=21 :{BASE},S=18\n"
    )
    assert not (maildir / "dovecot-uidlist.lock").exists()
    check(maildir, "--undo")
    assert (maildir / "dovecot-uidlist").read_bytes().replace(b"7 :", b"7 W21 S17 :") == before


def test_what_dovecots_list_says(maildir, check):
    put(maildir, f"cur/{GOOD}:2,S")
    put(maildir, "cur/1764000001.x:2,")
    uidlist(maildir, "3 V1 N1", f"2 :{GOOD}", "1 :gone", f"3 :{GOOD}", "rubbish")

    result = check(maildir, "--json")

    assert {(fact["text"].split(":")[0], fact["weight"]) for fact in result.facts} == {
        ("UID 1 behind UID 2", "fault"),
        (f"{GOOD} has the UIDs 2 and 3", "fault"),
        ("a line that is none", "fault"),
        ("1 of its messages are gone", "note"),
        ("1 messages have no UID yet", "note"),
    }


def test_a_list_that_dovecot_would_throw_away(maildir, check):
    uidlist(maildir, "1 rubbish")

    result = check(maildir, "--json")

    assert "new UIDs to all messages" in result.facts[0]["text"]
    assert result.code == EX_FOUND


def ledger(folder, *records):
    with closing(sqlite3.connect(folder / "ledger.db")) as connection, connection:
        for statements in SCHEMA.steps.values():
            for statement in statements:
                connection.execute(statement)
        rows = [(bytes([n]), str(path), tmp, name, "") for n, (path, tmp, name) in enumerate(records)]
        connection.executemany("INSERT INTO records VALUES (?, ?, ?, ?, ?, 0)", rows)


def test_what_a_retry_will_look_for_is_not_renamed(maildir, tmp_path, check):
    name = f"{BASE},S=17,W=21"
    put(maildir, f"new/{name}")
    ledger(tmp_path, (maildir, BASE, name))

    result = check(maildir, "--state", tmp_path, "--repair", "--json")

    assert [(fact["kind"], fact["repairable"]) for fact in result.facts] == [("size", False)]
    assert (maildir / "new" / name).exists()


def test_what_the_ledger_and_the_maildir_disagree_on(maildir, tmp_path, check):
    put(maildir, f"new/{GOOD}")
    put(maildir, "tmp/1764000009.M1P2Q3R4ab.mx")
    ledger(
        tmp_path,
        (maildir, BASE, f"{BASE},S=1,W=1"),
        (maildir, "1764000009.M1P2Q3R4ab.mx", "1764000009.M1P2Q3R4ab.mx,S=1,W=1"),
        (maildir, "gone", "gone,S=1,W=1"),  # will be delivered by the retry: nothing is wrong
    )

    result = check(maildir, "--state", tmp_path, "--json")

    assert [(fact["weight"], fact["name"]) for fact in result.facts] == [
        ("fault", GOOD),
        ("note", "tmp/1764000009.M1P2Q3R4ab.mx"),
    ]


def test_a_ledger_that_cannot_be_read(maildir, tmp_path, check):
    (tmp_path / "ledger.db").write_text("rubbish, and more than a header's worth of it" * 10)

    result = check(maildir, "--state", tmp_path)

    assert result.code == os.EX_NOINPUT
    assert "cannot be read" in result.err
