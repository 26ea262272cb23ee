"""The tables `[[recipients]]`."""

from tests.support.configs import problems_of


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
