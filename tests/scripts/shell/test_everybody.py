"""`--all`: everybody whom the recipient sources know, each once; and what is said where one cannot tell."""

import json
import os
import sqlite3
from contextlib import closing

import click
import pytest

from scripts.make import main as maildir_make
from scripts.shell.crew import Progressed
from scripts.shell.running import Script, run_script
from scripts.shell.selection import takes_maildirs
from scripts.shell.work import takes_run
from tests.support.scripting import new_maildir, runner


@click.command(cls=Script)
@takes_maildirs()
@takes_run
def maildir_test(run):
    def job(target, maildir):
        yield {"kind": "seen", "path": target.path, "layout": target.layout.value}
        yield Progressed(1)

    return run.go(job, lambda fact: click.echo(json.dumps(fact))).code


@pytest.fixture
def run(tmp_path, capfd):
    """Write a configuration, and run a script with --all."""
    execute = runner(lambda argv: run_script(maildir_test, "maildir-test", argv), capfd)

    def run_all(config, *more):
        (tmp_path / "lmtpd.toml").write_text(f'state = "{tmp_path}/state"\n' + config)
        return execute("--all", "--config", tmp_path / "lmtpd.toml", *more)

    return run_all


def seen(result):
    return sorted((fact["user"], fact["path"]) for fact in result.facts)


def users_file(tmp_path, text, name="users"):
    (tmp_path / name).write_text(text)
    return f'[[recipients]]\nsource = "file"\nfile = "{tmp_path / name}"\n'


def test_users_of_a_passwd_file_are_found_where_it_says(tmp_path, run):
    homes = tmp_path / "homes"
    new_maildir(homes / "alice" / "Maildir")
    new_maildir(homes / "bob")
    file = users_file(
        tmp_path,
        f"alice@example.org:{{plain}}x:1000:8::{homes}/alice::\n"
        f"bob@example.org::1000:8::::userdb_mail=maildir:{homes}/bob\n"
        "info@example.org:::::::alias=alice@example.org,bob@example.org\n"
        "away@example.org:::::::alias=someone@elsewhere.example\n",
    )

    result = run(file)

    assert (result.code, result.err) == (0, "")
    assert seen(result) == [
        ("alice@example.org", f"{homes}/alice/Maildir"),
        ("bob@example.org", f"{homes}/bob"),
    ]


def test_users_without_mail_yet_are_passed_over_but_made_by_maildir_make(tmp_path, run, capfd):
    (tmp_path / "mail").mkdir()
    new_maildir(tmp_path / "mail" / "alice")
    owner, group = os.geteuid() or 1234, os.getegid() or 5678
    file = users_file(
        tmp_path,
        f"alice:::::::userdb_mail=maildir:{tmp_path}/mail/alice\n"
        f"bob::{owner}:{group}::::userdb_mail=maildir:{tmp_path}/mail/bob\n",
    )

    result = run(file)

    assert (result.code, seen(result)) == (0, [("alice", f"{tmp_path}/mail/alice")])
    make = runner(maildir_make, capfd)
    if os.geteuid() == 0:
        assert make("--all", "--config", tmp_path / "lmtpd.toml").code == 0
        status = (tmp_path / "mail" / "bob" / "cur").stat()
        assert (status.st_uid, status.st_gid) == (owner, group)
        assert len(seen(run(file))) == 2


def test_users_of_a_toml_file_and_of_a_path_of_their_domain(tmp_path, run):
    root = tmp_path / "mail"
    for path in ("example.org/alice", "example.net/alice", "example.org/stranger"):
        new_maildir(root / path)
    file = users_file(tmp_path, '["alice@example.org"]\n["alice@example.net"]\nquota = "1G"\n', "users.toml")

    result = run(f'[mailboxes]\npath = "{root}/{{domain}}/{{user}}"\n{file}format = "toml"\n')

    assert result.code == 0
    assert seen(result) == [
        ("alice@example.net", f"{root}/example.net/alice"),
        ("alice@example.org", f"{root}/example.org/alice"),
    ]


def test_a_user_without_a_domain_has_a_mailbox_in_each(tmp_path, run):
    root = tmp_path / "mail"
    for path in ("a.example/bob", "b.example/bob", "c.example/bob"):
        new_maildir(root / path)
    file = users_file(tmp_path, "bob:::::::\n")
    path = f'[mailboxes]\npath = "{root}/{{domain}}/{{user}}"\n'

    assert [user for user, _ in seen(run(f'{path}{file}domains = ["a.example", "b.example"]\n'))] == [
        "bob@a.example",
        "bob@b.example",
    ]
    assert [user for user, _ in seen(run(f'{path}{file}[domains."c.example"]\nquota = "1G"\n'))] == [
        "bob@c.example"
    ]
    nowhere = run(path + file)
    assert (nowhere.code, nowhere.out) == (os.EX_NOUSER, "")
    assert nowhere.err == "maildir-test: bob: no mailbox can have this name\n"


def test_a_file_that_is_faulty_lists_nobody_and_stops_no_other_source(tmp_path, run):
    new_maildir(tmp_path / "mail" / "alice")
    file = users_file(tmp_path, "alice:x:zero:8::/home/alice::\n")

    result = run(
        f'[mailboxes]\npath = "{tmp_path}/mail/{{user}}"\n{file}[[recipients]]\nsource = "maildirs"\n'
    )

    assert result.code == os.EX_TEMPFAIL
    assert seen(result) == [("alice", f"{tmp_path}/mail/alice")]
    assert result.err.startswith(f"maildir-test: file {tmp_path}/users cannot tell who its users are now:")
    assert "line 1: uid 'zero'" in result.err


@pytest.fixture
def database(tmp_path):
    for user in ("alice", "bob", "gone"):
        new_maildir(tmp_path / "mail" / user)
    with closing(sqlite3.connect(tmp_path / "users.db")) as connection:
        connection.executescript(
            """
            CREATE TABLE users (user, domain, active);
            INSERT INTO users VALUES ('alice', 'example.org', 1), ('bob', 'example.org', 1),
              ('carol', 'example.org', 1), ('gone', 'example.org', 0);
            CREATE TABLE aliases (address, target);
            INSERT INTO aliases VALUES ('info@example.org', 'alice@example.org');
            """
        )
    return (
        f'[[recipients]]\nsource = "sql"\nurl = "sqlite://{tmp_path}/users.db"\n'
        f"query = \"SELECT '{tmp_path}/mail/' || user AS maildir FROM users"
        ' WHERE user = :user AND domain = :domain AND active"\n'
    )


@pytest.mark.parametrize(
    "query",
    [
        "SELECT user, domain FROM users WHERE active",
        "SELECT user || '@' || domain AS address FROM users WHERE active",
        "SELECT user || '@' || domain AS user FROM users WHERE active",
    ],
)
def test_users_of_a_database_are_those_of_its_iterate_query(tmp_path, run, database, query):
    result = run(f'{database}iterate_query = "{query}"\n')

    assert (result.code, result.err) == (0, "")
    assert seen(result) == [
        ("alice@example.org", f"{tmp_path}/mail/alice"),
        ("bob@example.org", f"{tmp_path}/mail/bob"),
    ]


@pytest.mark.parametrize(
    "query, code, why",
    [
        ("SELECT user, domain FROM users", os.EX_NOUSER, "gone@example.org: sqlite"),
        ("SELECT name FROM users", os.EX_TEMPFAIL, "no such column: name"),
        ("SELECT active FROM users", os.EX_TEMPFAIL, "must return address, or user and domain"),
        ("SELECT NULL AS address FROM users", os.EX_TEMPFAIL, "returns a row with nobody in it"),
    ],
)
def test_what_is_wrong_with_an_iterate_query_is_said(run, database, query, code, why):
    result = run(f'{database}iterate_query = "{query}"\n')

    assert result.code == code
    assert why in result.err


def test_an_iterate_query_has_nothing_to_fill_in(run, database):
    result = run(f'{database}iterate_query = "SELECT user FROM users WHERE domain = :domain"\n')

    assert result.code == os.EX_CONFIG
    assert "asks for everybody, so nothing can be filled in: not :domain" in result.err


def test_a_database_without_iterate_query_is_named_and_changes_the_exit_code(tmp_path, run, database):
    result = run(database)

    assert (result.code, result.out) == (os.EX_UNAVAILABLE, "")
    assert result.err == (
        f"maildir-test: sqlite {tmp_path}/users.db cannot tell who its users are: it has no iterate_query\n"
    )


def test_what_is_missed_does_not_keep_the_list_of_what_is_done(tmp_path, run, database):
    where = f'[mailboxes]\npath = "{tmp_path}/mail/{{user}}"\n'
    database = database.replace("SELECT '", "SELECT NULL AS home, '")

    result = run(where + database, "--resume", tmp_path / "done")

    assert result.code == os.EX_UNAVAILABLE
    assert [user for user, _ in seen(result)] == ["alice", "bob", "gone"]
    assert not (tmp_path / "done").exists()


def test_the_first_source_that_knows_a_user_says_where_he_is_and_nobody_comes_twice(tmp_path, run):
    first, second = new_maildir(tmp_path / "first"), new_maildir(tmp_path / "second")
    one = users_file(tmp_path, f"bob@example.org:::::::userdb_mail=maildir:{first}\n", "one")
    two = users_file(tmp_path, f"bob@example.org:::::::userdb_mail=maildir:{second}\n", "two")

    assert seen(run(one + two)) == [("bob@example.org", str(first))]


def test_domains_with_a_path_and_a_layout_of_their_own_are_found(tmp_path, run):
    new_maildir(tmp_path / "mail" / "example.org" / "alice")
    new_maildir(tmp_path / "mail" / "example.net" / "left-over")
    new_maildir(tmp_path / "net" / "bob")

    result = run(
        f'[mailboxes]\npath = "{tmp_path}/mail/{{domain}}/{{user}}"\n'
        f'[domains."example.net"]\npath = "{tmp_path}/net/{{user}}"\nlayout = "fs"\n'
    )

    assert seen(result) == [
        ("alice@example.org", f"{tmp_path}/mail/example.org/alice"),
        ("bob@example.net", f"{tmp_path}/net/bob"),
    ]
    assert {fact["user"]: fact["layout"] for fact in result.facts} == {
        "alice@example.org": "maildir++",
        "bob@example.net": "fs",
    }


def test_a_whole_domain_in_a_file_is_everybody_with_a_maildir_there(tmp_path, run):
    for path in ("example.org/alice", "example.org/bob"):
        new_maildir(tmp_path / "mail" / path)
    file = users_file(tmp_path, "@example.org:::::::\n")

    result = run(f'[mailboxes]\npath = "{tmp_path}/mail/{{domain}}/{{user}}"\n{file}')

    assert result.code == 0
    assert [user for user, _ in seen(result)] == ["alice@example.org", "bob@example.org"]


@pytest.mark.parametrize("result, code, users", [("user", 0, ["alice"]), ("alias", 0, []),
                                                 ("maildir", os.EX_UNAVAILABLE, ["alice"])])  # fmt: skip
def test_of_a_socketmap_it_counts_what_its_answers_mean(tmp_path, run, result, code, users):
    new_maildir(tmp_path / "mail" / "alice")

    ran = run(
        f'[mailboxes]\npath = "{tmp_path}/mail/{{user}}"\n[[recipients]]\nsource = "socketmap"\n'
        f'socket = "unix:{tmp_path}/none"\nmap = "users"\nresult = "{result}"\n'
    )

    assert ran.code == code
    assert [user for user, _ in seen(ran)] == users
    assert ("the protocol has no question for everybody" in ran.err) == (code != 0)


def test_the_machines_users_have_their_maildirs_in_their_homes(run):
    result = run('[[recipients]]\nsource = "passwd"\nfirst_uid = 4000000000\n')

    assert (result.code, result.out, result.err) == (0, "", "")
