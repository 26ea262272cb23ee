"""`--all` of the admin scripts with the real servers behind the sources: PostgreSQL, OpenLDAP, postmap."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lmtpd.recipients.ldap import PAGE
from tests.support.postgresql import Postgresql
from tests.support.requirements import ROOT, need, program
from tests.support.scripting import new_maildir
from tests.support.slapd import ADMIN, BASE, Slapd

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("recipient_sources")]

MANY = 2 * PAGE + 10


def run_all(folder: Path, config: str) -> tuple[int, list[str], str]:
    """Run a script as the administrator does; return its code, whom it found, and what it said."""
    (folder / "lmtpd.toml").write_text(f'state = "{folder}/state"\n{config}')
    done = subprocess.run(
        [sys.executable, "-c", "import sys; from scripts.quota import main; sys.exit(main())",
         "--all", "--json", "--config", folder / "lmtpd.toml"],
        capture_output=True, text=True, cwd=ROOT, check=False,
    )  # fmt: skip
    users = sorted(json.loads(line)["user"] for line in done.stdout.splitlines())
    return done.returncode, users, done.stderr


def test_everybody_of_a_postgresql_database(database: Postgresql, tmp_path: Path):
    for user in ("ann", "ben"):
        new_maildir(tmp_path / user)
    database.execute(
        "DROP TABLE IF EXISTS people", "CREATE TABLE people (login text, domain text)",
        "INSERT INTO people VALUES ('ann', 'example.org'), ('ben', 'example.org'), ('new', 'example.org')",
    )  # fmt: skip
    config = (
        f'[[recipients]]\nsource = "sql"\nurl = "{database.url}"\ntimeout_s = 1\n'
        f"query = \"SELECT '{tmp_path}/' || login AS maildir FROM people"
        ' WHERE login = :user AND domain = :domain"\n'
    )

    # That it takes longer than a delivery would wait for an answer is no matter.
    slow = 'iterate_query = "SELECT login AS user, domain, pg_sleep(0.6) AS nap FROM people"\n'
    assert run_all(tmp_path, config + slow) == (0, ["ann@example.org", "ben@example.org"], "")
    code, users, said = run_all(tmp_path, config + 'iterate_query = "DELETE FROM people RETURNING login"\n')
    assert (code, users) == (os.EX_TEMPFAIL, [])
    assert "read-only transaction" in said


def test_everybody_of_a_directory_however_many(directory: Slapd, tmp_path: Path):
    directory.add("ou=everybody", ["organizationalUnit"])
    for number in range(MANY):
        directory.add(
            f"uid=u{number},ou=everybody", ["inetOrgPerson"], cn="x", sn="x", uid=f"u{number}",
            mail=f"u{number}@example.org",
        )  # fmt: skip
    for number in range(0, MANY, 100):
        new_maildir(tmp_path / f"u{number}")
    config = (
        f'[mailboxes]\npath = "{tmp_path}/{{user}}"\n'
        f'[[recipients]]\nsource = "ldap"\nurl = "{directory.unix_url}"\nbase = "ou=everybody,{BASE}"\n'
        f'bind_dn = "{ADMIN}"\nbind_password_file = "{directory.password_file}"\n'
        'filter = "(mail={address})"\n'
    )

    code, users, said = run_all(tmp_path, config + 'iterate_filter = "(objectClass=inetOrgPerson)"\n')

    assert (code, said) == (0, "")
    assert users == sorted(f"u{number}@example.org" for number in range(0, MANY, 100))
    by_name = 'domains = ["example.org"]\niterate_filter = "(uid=u100)"\niterate_attribute = "uid"\n'
    assert run_all(tmp_path, config + by_name) == (0, ["u100@example.org"], "")
    code, users, said = run_all(tmp_path, config + 'iterate_filter = "(ou=everybody)"\n')
    assert (code, users) == (os.EX_TEMPFAIL, [])
    assert "has no mail" in said


def test_everybody_of_a_table_of_postfix(tmp_path: Path):
    need("postmap")
    (tmp_path / "main.cf").write_text("compatibility_level = 3.6\n")
    for user in ("ann", "ben"):
        new_maildir(tmp_path / "mail" / user)
    (tmp_path / "vmailbox").write_text("ann@example.org ann/\nben@example.org ben/\n")
    subprocess.run([program("postmap"), "-c", tmp_path, f"hash:{tmp_path}/vmailbox"], check=True)
    (tmp_path / "regexp").write_text("/@example.org$/ ann/\n")

    def config(table: str) -> str:
        return (
            f'[mailboxes]\npath = "{tmp_path}/mail/{{user}}"\n[[recipients]]\nsource = "postfix"\n'
            f'table = "{table}"\nresult = "maildir"\nconfig_directory = "{tmp_path}"\n'
        )

    listed = run_all(tmp_path, config(f"hash:{tmp_path}/vmailbox"))
    assert listed == (0, ["ann@example.org", "ben@example.org"], "")
    code, users, said = run_all(tmp_path, config(f"regexp:{tmp_path}/regexp"))
    assert (code, users) == (os.EX_UNAVAILABLE, ["ann", "ben"])
    assert f"postfix regexp:{tmp_path}/regexp cannot tell who its users are" in said
