"""The tables `[[recipients]]`."""

import pytest

from lmtpd.config import Need, effective, warnings, written
from tests.support.configs import from_text, problems_of, setting


def test_a_source_that_there_is_not(tmp_path):
    (problem,) = problems_of(tmp_path, '[[recipients]]\nsource = "maildir"\nquery = "x"\n')

    assert problem.startswith('lmtpd.toml:2: recipients[0].source = "maildir": must be')
    assert problem.endswith('did you mean "maildirs"?')


def test_a_table_without_its_source(tmp_path):
    (problem,) = problems_of(tmp_path, "[[recipients]]\nquery = 1\n")

    assert problem == "lmtpd.toml:1: recipients[0].source: is missing"


def test_a_key_that_the_source_does_not_have(tmp_path):
    (problem,) = problems_of(tmp_path, '[[recipients]]\nsource = "maildirs"\nquery = "x"\n')

    assert problem.startswith('lmtpd.toml:3: recipients[0].query = "x": unknown key')


def test_something_else_in_place_of_a_table(tmp_path):
    (problem,) = problems_of(tmp_path, 'recipients = ["maildirs"]\n')

    assert problem == 'lmtpd.toml:1: recipients[0] = "maildirs": must be a table, not a string'


def test_a_key_of_another_source_is_told_what_this_one_has(tmp_path):
    (problem,) = problems_of(tmp_path, '[[recipients]]\nsource = "passwd"\nfile = "/x"\n')

    assert problem.startswith('lmtpd.toml:3: recipients[0].file = "/x": unknown key')
    assert problem.endswith(
        "Allowed in [recipients]: domains, path, create, cache_entries, cache_s, cache_unknown_s,"
        " timeout_s, connections, source, first_uid"
    )


def test_all_mistakes_in_sources_are_told_at_once(tmp_path):
    text = """
    [[recipients]]
    source = "passwd"
    first_uid = 0
    path = "{home}"
    domains = ["a b"]
    [[recipients]]
    source = "file"
    format = "tml"
    [[recipients]]
    source = "nis"
    """

    found = [problem.split(" ", 1)[1].split(":")[0] for problem in problems_of(tmp_path, text)]

    assert found == [
        "recipients[0].first_uid = 0",
        'recipients[0].path = "{home}"',
        'recipients[0].domains = ["a b"]',
        "recipients[1].file",
        'recipients[1].format = "tml"',
        'recipients[2].source = "nis"',
    ]


@pytest.mark.parametrize(
    "path, why",
    [
        ("/srv/{home}/x", "may have {home} at its beginning only"),
        ("{home}/{users}", "{users} is unknown"),
        ("{home}/../x", 'must not contain ".."'),
        ("/srv/x", "must contain {user}"),
    ],
)
def test_paths_of_sources(tmp_path, path, why):
    (problem,) = problems_of(tmp_path, f'[[recipients]]\nsource = "passwd"\npath = "{path}"\n')

    assert why in problem


def test_the_site_needs_no_path_when_all_sources_know_theirs(tmp_path):
    config = from_text(tmp_path, '[[recipients]]\nsource = "passwd"\n', needs=frozenset({Need.MAILBOXES}))

    assert config.mailboxes.path is None


def test_a_file_that_is_not_there(tmp_path):
    text = '[[recipients]]\nsource = "file"\nfile = "/no/such"\n'

    (problem,) = problems_of(tmp_path, text, needs=frozenset({Need.MAILBOXES}))

    assert problem == 'lmtpd.toml:3: recipients[0].file = "/no/such": there is no such file'


def test_a_source_that_is_listed_twice(tmp_path):
    text = '[[recipients]]\nsource = "passwd"\n' * 2

    (problem,) = problems_of(tmp_path, text, needs=frozenset({Need.MAILBOXES}))

    assert problem == 'lmtpd.toml:3: recipients[1] = "passwd": is listed twice'


FORM = "must be a domain in lower case and in its ASCII form"


@pytest.mark.parametrize(
    "text, problem",
    [
        ('["A.org"]\ncreate = true', f'domains."A.org": {FORM}: write "a.org"'),
        ('["bücher.example"]\nsubscribe = true', f'domains."bücher.example": {FORM}: write "xn--bcher-kva'),
        ('["a.org"]\ncreate = 1', 'domains."a.org".create = 1: must be true or false'),
        ('["a.org"]\ncreat = true', 'domains."a.org".creat = true: unknown key, did you mean'),
        ('["a.org"]\nquota = "much"', 'domains."a.org".quota = "much": must be a size'),
        ('["a.org"]\ncatch_all = "me"', 'domains."a.org".catch_all = "me": must be a full address'),
        ('["a.org"]\nsame_as = "a.org"', 'domains."a.org".same_as = "a.org": must be a domain that is not'),
        ('["a.org"]\nsame_as = "b.org"\ncreate = true', 'domains."a.org".same_as = "b.org": stands alone'),
        ('["a.org"]\nsame_as = "b.org"\n[domains."b.org"]\nsame_as = "c.org"', 'domains."a.org".same_as ='),
    ],
)  # fmt: skip
def test_mistakes_in_domains(tmp_path, text, problem):
    found = problems_of(tmp_path, text.replace("[", "[domains.", 1))

    assert len(found) == 1
    assert found[0].split(" ", 1)[1].startswith(problem)


@pytest.mark.parametrize(
    "text, why",
    [
        ("aliases = 3", "must be a table, not a number"),
        ('[aliases]\ninfo = "a@b.org"', "\"info\" = 'a@b.org': both sides must be a full address"),
        ('[aliases]\n"info@b.org" = []', "must name at least one address"),
        ('[aliases]\n"info@b.org" = 3', "must be a string"),
    ],
)
def test_mistakes_in_aliases(tmp_path, text, why):
    (problem,) = problems_of(tmp_path, text)

    assert why in problem


def test_aliases_and_domains(tmp_path):
    config = from_text(
        tmp_path,
        """
        [aliases]
        "info@Example.org" = "a@x.org"
        "all@example.org" = ["a@x.org", "b@x.org"]
        [domains."example.org"]
        catch_all = "a@x.org"
        path = "/big/{user}"
        create = true
        """,
        setting('domains."example.org".detail=create'),
        setting('domains."example.org".folder_levels=3'),
    )

    assert config.aliases == {"info@example.org": ("a@x.org",), "all@example.org": ("a@x.org", "b@x.org")}
    domain = config.domains["example.org"]
    assert (domain.catch_all, domain.create, domain.detail, domain.folder_levels) == (
        ("a@x.org",), True, "create", 3,
    )  # fmt: skip
    assert list(config.roots_to_make) == ["/big"]


def test_what_may_not_be_meant_is_warned_about(tmp_path):
    config = from_text(
        tmp_path,
        f"""
        [mailboxes]
        path = "{tmp_path}/{{user}}"
        create = true
        [[recipients]]
        source = "maildirs"
        [[recipients]]
        source = "passwd"
        [domains."example.org"]
        catch_all = "a@x.org"
        """,
    )

    found = list(warnings(config))
    assert any(each.startswith("recipients[0]: with mailboxes.create every address") for each in found)
    assert any(each.startswith('domains."example.org".catch_all') for each in found)


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

    found = problems_of(tmp_path, SOURCES.format(folder=tmp_path), needs=frozenset({Need.MAILBOXES}))

    assert [problem.split(": ", 1)[1] for problem in found] == [
        'recipients[0].url = "users.db": there is no such file',
        "recipients[1].url: needs psycopg, which is not installed: pip install 'maildir-lmtpd[postgresql]'",
        "recipients[2].source: needs ldap3, which is not installed: pip install 'maildir-lmtpd[ldap]'",
        'recipients[2].bind_password_file = "users.db": there is no such file',
        'recipients[5].postmap = "users.db": there is no such file',
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
