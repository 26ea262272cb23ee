"""The keys of each recipient source."""

import pytest

from lmtpd.config import Need, effective, written
from tests.support.configs import from_text, problems_of

SOURCES = """
[[recipients]]
source = "sql"
url = "sqlite://{folder}/users.db"
query = "SELECT home FROM users WHERE address = :address"
columns = {{ home = "homedir" }}
[[recipients]]
source = "sql"
url = "postgresql://lmtpd:hidden@db/mail"
query = "SELECT home FROM users WHERE address = :address"
[[recipients]]
source = "ldap"
url = "ldap://ldap.example.org"
starttls = true
bind_dn = "cn=lmtpd"
bind_password_file = "{folder}/users.db"
base = "dc=example,dc=org"
filter = "(mail={{address}})"
attributes = {{ home = "homeDirectory" }}
[[recipients]]
source = "socketmap"
socket = "inet:[::1]:2000"
map = "users"
[[recipients]]
source = "socketmap"
socket = "unix:/run/maps"
map = "users"
result = "alias"
[[recipients]]
source = "postfix"
table = "hash:/etc/postfix/vmailbox"
result = "maildir"
postmap = "{folder}/users.db"
"""


def test_every_source_with_its_keys(tmp_path):
    (tmp_path / "users.db").touch()

    config = from_text(tmp_path, SOURCES.format(folder=tmp_path), needs=frozenset({Need.MAILBOXES}))
    shown = {written(path): value for path, value in effective(config)}

    assert shown["recipients[0].columns"] == {"home": "homedir"}
    assert shown["recipients[1].url"] == "postgresql://lmtpd:***@db/mail"
    assert shown["recipients[2].attributes"] == {"home": "homeDirectory"}
    assert shown["recipients[3].socket"] == "inet:[::1]:2000"
    assert shown["recipients[4].socket"] == "unix:/run/maps"
    assert shown["recipients[5].result"] == "maildir"


@pytest.mark.parametrize(
    "source, key, value, why",
    [
        ("sql", "url", "mysql://x", 'must be "sqlite:///PATH" or "postgresql://'),
        ("sql", "url", "sqlite:x", "must be sqlite:///PATH"),
        ("sql", "query", "SELECT 1", "must ask for :address or :user"),
        ("sql", "query", " ", "must be a query"),
        ("sql", "columns", {"hom": "x"}, '"hom" is unknown'),
        ("sql", "columns", "home", "must be a table, not a string"),
        ("ldap", "url", "http://x", 'must be "ldap://HOST:PORT"'),
        ("ldap", "url", "ldap://x/dc=a?mail", 'must be "ldap://HOST:PORT"'),
        ("ldap", "filter", "mail={address}", "must begin and end with brackets"),
        ("ldap", "scope", "subtree", 'must be "base", "one" or "sub"'),
        ("ldap", "attributes", {"home": ""}, "must not be empty"),
        ("socketmap", "socket", "/run/x", 'must be "unix:PATH" or "inet:HOST:PORT"'),
        ("socketmap", "socket", "inet:localhost", 'must be "unix:PATH" or "inet:HOST:PORT"'),
        ("socketmap", "socket", "inet:localhost:70000", 'must be "unix:PATH" or "inet:HOST:PORT"'),
        ("socketmap", "result", "path", 'must be "user", "maildir" or "alias"'),
        ("postfix", "table", "/etc/postfix/x", "must be a table with its type"),
    ],
)
def test_values_of_sources(tmp_path, source, key, value, why):
    shown = (
        value if isinstance(value, str) else ", ".join(f'{name} = "{each}"' for name, each in value.items())
    )
    text = f'"{shown}"' if isinstance(value, str) else f"{{ {shown} }}"

    found = problems_of(tmp_path, f'[[recipients]]\nsource = "{source}"\n{key} = {text}\n')

    assert [problem for problem in found if f"recipients[0].{key} = " in problem and why in problem]


def test_what_sources_need_from_the_machine(tmp_path, monkeypatch):
    monkeypatch.setattr("lmtpd.config.recipient_checks.find_spec", lambda name: None)

    found = problems_of(tmp_path, SOURCES.format(folder="/no/such"), needs=frozenset({Need.MAILBOXES}))

    assert [problem.split(": ", 1)[1] for problem in found] == [
        'recipients[0].url = "/no/such/users.db": there is no such file',
        "recipients[1].url: needs psycopg, which is not installed: pip install 'maildir-lmtpd[postgresql]'",
        "recipients[2].source: needs ldap3, which is not installed: pip install 'maildir-lmtpd[ldap]'",
        'recipients[2].bind_password_file = "/no/such/users.db": there is no such file',
        'recipients[5].postmap = "/no/such/users.db": there is no such file',
    ]


def test_a_name_and_its_password_are_given_together(tmp_path):
    text = """
    [[recipients]]
    source = "ldap"
    url = "ldaps://x"
    starttls = true
    bind_dn = "cn=x"
    base = "dc=x"
    filter = "(mail={user})"
    """

    found = problems_of(tmp_path, text, needs=frozenset({Need.MAILBOXES}))

    assert any("bind_dn and bind_password_file are given together" in problem for problem in found)
    assert any("cannot be combined with ldaps://x" in problem for problem in found)
