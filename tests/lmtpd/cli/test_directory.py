"""From the configuration to the recipient sources, through the commands that an administrator has."""

import json
import os
import pwd
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from lmtpd.__main__ import main
from tests.support.requirements import need, program


def settled(path: Path, text: str) -> Path:
    """Write a file that nobody has written to for a while."""
    path.write_text(text)
    os.utime(path, (1, 1))
    return path


def explained(capsys: pytest.CaptureFixture[str], folder: Path, config: str, address: str) -> dict[str, str]:
    """Return what `lmtpd explain` shows: the steps' answers by their questions, and the facts."""
    (folder / "lmtpd.toml").write_text(config)
    main(["explain", address, "--config", str(folder / "lmtpd.toml"), "--json"])
    shown: dict[str, Any] = json.loads(capsys.readouterr().out)
    return {step["question"]: step["answer"] for step in shown.pop("steps")} | shown


def test_passwd(tmp_path, capsys):
    config = (
        '[[recipients]]\nsource = "passwd"\nfirst_uid = 1\ndomains = ["example.org"]\npath = "{home}/Mail"\n'
    )
    mail = pwd.getpwnam("mail")

    known = explained(capsys, tmp_path, config, "mail@example.org")
    other = explained(capsys, tmp_path, config, "mail@example.net")
    unknown = explained(capsys, tmp_path, config, "no-such-user@example.org")

    assert known["mailbox"] == f"{mail.pw_dir}/Mail"
    assert known["answer: owner"] == f"uid {mail.pw_uid}, gid {mail.pw_gid}"
    assert other["reply"].startswith("550 ")
    assert unknown["reply"].startswith("550 ")


def test_sqlite(tmp_path, capsys):
    with closing(sqlite3.connect(tmp_path / "users.db")) as connection:
        connection.executescript(
            "CREATE TABLE users (name, dir); INSERT INTO users VALUES ('alice@example.org', '/srv/alice');"
        )
    config = f"""
    [[recipients]]
    source = "sql"
    url = "sqlite://{tmp_path}/users.db"
    query = "SELECT dir FROM users WHERE name = :address"
    columns = {{ maildir = "dir" }}
    """

    assert explained(capsys, tmp_path, config, "Alice+x@example.org")["mailbox"] == "/srv/alice"
    assert explained(capsys, tmp_path, config, "bob@example.org")["reply"].startswith("550 ")


def test_postfix(tmp_path, capsys):
    need("postmap")
    (tmp_path / "vmailbox").write_text("alice@example.org example.org/alice/\n")
    subprocess.run([program("postmap"), f"hash:{tmp_path}/vmailbox"], check=True)
    config = f"""
    [mailboxes]
    path = "{tmp_path}/mail/{{domain}}/{{user}}"
    [[recipients]]
    source = "postfix"
    table = "hash:{tmp_path}/vmailbox"
    result = "maildir"
    postmap = "{program("postmap")}"
    """

    assert explained(capsys, tmp_path, config, "alice@example.org")["mailbox"] == (
        f"{tmp_path}/mail/example.org/alice"
    )
    assert explained(capsys, tmp_path, config, "bob@example.org")["reply"].startswith("550 ")


def test_each_domain_has_its_own_rules(tmp_path, capsys):
    (tmp_path / "site" / "example.org").mkdir(parents=True)
    config = f"""
    [mailboxes]
    path = "{tmp_path}/site/{{domain}}/{{user}}"
    [domains."big.example"]
    path = "{tmp_path}/big/{{user}}"
    create = true
    detail = "create"
    quota = "5M"
    [domains."www.example"]
    same_as = "big.example"
    [domains."caught.example"]
    catch_all = "alice@big.example"
    """
    (tmp_path / "big").mkdir()

    for address in ("alice+New@big.example", "alice+New@www.example"):
        shown = explained(capsys, tmp_path, config, address)
        assert shown["mailbox"] == f"{tmp_path}/big/alice"
        assert shown["folder"] == "New, made if missing"
        assert shown["quota"].startswith("5M ")
    assert explained(capsys, tmp_path, config, "alice@example.org")["reply"].startswith("550 ")
    caught = explained(capsys, tmp_path, config, "whoever@caught.example")
    assert caught["catch-all"] == "alice@big.example"
    assert caught["mailbox"] == f"{tmp_path}/big/alice"


def test_no_place_for_a_known_user_is_said(tmp_path, capsys):
    users = settled(tmp_path / "users", "alice:x\n")
    config = f'[[recipients]]\nsource = "file"\nfile = "{users}"\n'

    shown = explained(capsys, tmp_path, config, "alice@example.org")

    assert shown["path"] == "neither maildir nor home is known, and no path is configured"
    assert shown["reply"].startswith("451 ")


def check(folder: Path, config: str, *more: str) -> int:
    (folder / "lmtpd.toml").write_text(config)
    return main(["check", "--config", str(folder / "lmtpd.toml"), *more])


def test_check_asks_every_source_and_tells_all_that_is_wrong(tmp_path, capsys):
    users = settled(tmp_path / "users", "alice:x:1\n:y\n")
    (tmp_path / "users.db").touch()
    config = f"""
    [[recipients]]
    source = "file"
    file = "{users}"
    [[recipients]]
    source = "sql"
    url = "sqlite://{tmp_path}/users.db"
    query = "SELECT 'x' AS hom WHERE :user <> ''"
    """

    assert check(tmp_path, config) == os.EX_CONFIG

    output = capsys.readouterr().err
    assert "line 1: uid and gid must be given together; line 2: there is no user" in output
    assert "'hom' means nothing here" in output
    assert "lmtpd: 2 problems in the configuration" in output

    assert check(tmp_path, config, "--json") == os.EX_CONFIG
    shown = json.loads(capsys.readouterr().out)
    assert [problem["place"].split(" (")[0] for problem in shown["problems"]] == [
        f"{tmp_path}/lmtpd.toml:2: recipients[0]",
        f"{tmp_path}/lmtpd.toml:5: recipients[1]",
    ]


def test_check_warns_of_a_source_that_is_down(tmp_path, capsys):
    config = f'[[recipients]]\nsource = "socketmap"\nsocket = "unix:{tmp_path}/none"\nmap = "m"\n'

    assert check(tmp_path, config) == os.EX_OK

    assert f"recipients[0] (socketmap {tmp_path}/none:m) cannot be asked now: " in capsys.readouterr().err


def test_check_prints_what_can_be_read_again(tmp_path, capsys):
    users = settled(tmp_path / "users", "postmaster::1:1::/home\na::1:1::/home\n")
    config = f"""
    [[recipients]]
    source = "file"
    file = "{users}"
    [aliases]
    "info@example.org" = ["a@example.org"]
    [domains."example.org"]
    quota = "1G"
    """
    assert check(tmp_path, config) == os.EX_OK
    printed = capsys.readouterr().out

    assert check(tmp_path, printed) == os.EX_OK
    again = capsys.readouterr().out

    assert [line.split(" #")[0] for line in again.splitlines()] == [
        line.split(" #")[0] for line in printed.splitlines()
    ]
    assert '"info@example.org" = ["a@example.org"]' in again
    assert '[domains."example.org"]' in again
