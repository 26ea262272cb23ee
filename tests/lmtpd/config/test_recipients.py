"""The tables `[[recipients]]`."""

import pytest

from lmtpd.config import Need, warnings
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
