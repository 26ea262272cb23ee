"""Keys and values of tables."""

import pytest

from lmtpd.protocol.addresses import Address
from lmtpd.recipients.entry import Entry, EntryError
from lmtpd.recipients.lookup import Question
from lmtpd.recipients.table_keys import Result, entry_of_result, keys_of


@pytest.mark.parametrize(
    "question, keys",
    [
        (Question("a", "b", "x.org"), ["a+b@x.org", "a@x.org", "@x.org"]),
        (Question("a", "b", "x.org", "-"), ["a-b@x.org", "a@x.org", "@x.org"]),
        (Question("a", None, "x.org"), ["a@x.org", "@x.org"]),
        (Question("a", "b", ""), ["a+b", "a"]),
        (Question("a", "b\n", "x.org"), ["a@x.org", "@x.org"]),
    ],
)
def test_keys_are_those_of_virtual(question, keys):
    assert list(keys_of(question)) == keys


def test_values():
    assert entry_of_result("whatever", Result.USER) == Entry()
    assert entry_of_result("a@x.org", Result.ALIAS) == Entry(targets=(Address("a", "x.org"),))
    assert entry_of_result("x.org/a/", Result.MAILDIR) == Entry(maildir="x.org/a")
    assert entry_of_result("/srv/a/", Result.MAILDIR) == Entry(maildir="/srv/a")


@pytest.mark.parametrize("value", ["", " ", "x.org/a", "a\nb/"])
def test_values_that_are_no_maildir(value):
    with pytest.raises(EntryError):
        entry_of_result(value, Result.MAILDIR)


@pytest.mark.parametrize("value", ["", "nobody@", "a@b@c"])
def test_values_that_are_no_addresses(value):
    with pytest.raises(EntryError):
        entry_of_result(value, Result.ALIAS)
