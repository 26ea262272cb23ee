"""SQLite as a place of users, and what the sources over SQL have in common."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from lmtpd.protocol.addresses import Address
from lmtpd.recipients.entry import Entry, EntryError
from lmtpd.recipients.lookup import LookupFailed, Question, SourceDown
from lmtpd.recipients.mailbox import MailboxOwner
from lmtpd.recipients.query import Query
from lmtpd.recipients.sql import ROWS, SqlLookup
from lmtpd.recipients.sqlite import SqliteDatabase
from storage.quota_limit import QuotaLimit


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "users 100%?#.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            """
            CREATE TABLE users (address, home, uid, gid, quota);
            INSERT INTO users VALUES ('alice@example.org', '/home/alice', 1000, 8, '*:storage=1G'),
              ('twice@example.org', '/a', 1, 1, NULL), ('twice@example.org', '/b', 1, 1, NULL),
              ('both@example.org', '/home/both', 1, 1, NULL);
            CREATE TABLE aliases (address, target);
            INSERT INTO aliases VALUES ('info@example.org', 'a@x.org'),
              ('info@example.org', 'b@x.org, c@x.org'),
              ('both@example.org', 'both@example.org'), ('both@example.org', 'a@x.org');
            """
        )
        connection.executemany(
            "INSERT INTO aliases VALUES ('all@example.org', ?)", [(f"u{n}@x.org",) for n in range(ROWS + 1)]
        )
        connection.commit()
    return path


def find(path: Path, text: str, user: str, detail: str | None = None, **columns: str) -> Entry | None:
    query = Query.parse(text)
    lookup = SqlLookup(SqliteDatabase(str(path), query, timeout_s=1), query, columns)
    return lookup.find(Question(user, detail, "example.org"))


USERS = "SELECT home, uid, gid, quota FROM users WHERE address = :address"
ALIASES = "SELECT target AS alias FROM aliases WHERE address = :address"
A, B, C = (Address(user, "x.org") for user in "abc")


def test_columns_are_what_is_known(database: Path):
    alice = Entry(home="/home/alice", owner=MailboxOwner(1000, 8), quota=QuotaLimit(1 << 30))

    assert find(database, USERS, "alice") == alice
    assert find(database, USERS, "eve") is None
    assert find(database, USERS, "' OR 1 --") is None


def test_columns_may_be_mapped_and_the_others_mean_nothing(database: Path):
    text = "SELECT *, 1 AS other FROM users WHERE address = :user || '@' || :domain"

    assert find(database, text, "alice", home="home") == Entry(home="/home/alice")
    with pytest.raises(EntryError, match="returns no column 'path', only address, home"):
        find(database, text, "alice", maildir="path")


def test_columns_that_mean_nothing_are_a_mistake_unless_mapped(database: Path):
    with pytest.raises(EntryError, match="'other' means nothing here"):
        find(database, "SELECT 1 AS other FROM users WHERE address = :address", "alice")


def test_rows_that_differ_in_their_alias_only_are_one_alias(database: Path):
    assert find(database, ALIASES, "info") == Entry(targets=(A, B, C))


def test_rows_may_have_a_mailbox_and_an_alias(database: Path):
    text = "SELECT home, target AS alias FROM users JOIN aliases USING (address) WHERE address = :address"

    found = find(database, text, "both")

    assert found is not None
    assert (found.home, set(found.targets)) == ("/home/both", {Address("both", "example.org"), A})


def test_rows_that_differ_in_more_are_no_answer(database: Path):
    with pytest.raises(LookupFailed, match="2 rows, which differ in more than their alias"):
        find(database, USERS, "twice")


def test_rows_are_limited(database: Path):
    with pytest.raises(LookupFailed, match=f"more than {ROWS} rows"):
        find(database, ALIASES, "all")
    found = find(database, ALIASES + f" LIMIT {ROWS}", "all")
    assert found is not None
    assert len(found.targets) == ROWS


def test_a_query_with_a_detail_is_asked_for_each_detail(database: Path):
    text = "SELECT :detail AS script, home FROM users WHERE address = :address"
    query = Query.parse(text)

    assert SqlLookup(SqliteDatabase(str(database), query, timeout_s=1), query, {}).asks_for_detail
    found = find(database, text, "alice", "x")
    assert found is not None
    assert found.script == "x"


@pytest.mark.parametrize(
    "text, why",
    [
        ("SELECT home FROM userz WHERE address = :address", "no such table: userz"),
        ("SELEKT :address", "syntax error"),
        ("DELETE FROM users WHERE address = :address", "readonly database"),
    ],
)
def test_queries_that_cannot_be_run_are_no_answer(database: Path, text: str, why: str):
    with pytest.raises(SourceDown, match=why):
        find(database, text, "alice")


def test_a_file_that_is_not_there_is_not_made(tmp_path: Path):
    with pytest.raises(SourceDown, match="unable to open"):
        find(tmp_path / "none", USERS, "alice")
    assert not (tmp_path / "none").exists()


def test_a_file_that_is_locked_is_no_answer(database: Path):
    with closing(sqlite3.connect(database)) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        with pytest.raises(SourceDown, match="locked"):
            query = Query.parse(USERS)
            lookup = SqlLookup(SqliteDatabase(str(database), query, timeout_s=0), query, {})
            lookup.find(Question("alice", None, "example.org"))
