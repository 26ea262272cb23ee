"""Users in TOML."""

import pytest

from lmtpd.protocol.addresses import Address
from lmtpd.recipients.entry import Entry
from lmtpd.recipients.file import FileFault
from lmtpd.recipients.toml_file import parse_toml_file
from storage.quota_limit import QuotaLimit


def test_users_aliases_and_catch_all():
    text = b"""
    ["Alice@example.org"]
    maildir = "/srv/alice"
    quota = "2G"
    ["info@example.org"]
    alias = ["alice@example.org", "bob@example.org"]
    ["@example.org"]
    alias = "alice@example.org"
    """

    entries = parse_toml_file(text, fold_case=True)

    alice, bob = Address("alice", "example.org"), Address("bob", "example.org")
    assert entries == {
        "alice@example.org": Entry(maildir="/srv/alice", quota=QuotaLimit(2 << 30)),
        "info@example.org": Entry(targets=(alice, bob)),
        "@example.org": Entry(targets=(alice,)),
    }


@pytest.mark.parametrize(
    "text, why",
    [
        ("x = ", "not valid TOML"),
        ("\udcff", "not valid TOML"),
        ('alice = "x"', "alice: must be a table"),
        ("[alice.b]\nhome = '/x'", "alice: 'b' means nothing here"),
        ("[alice]\nhome='/x'\n[ALICE]\nhome='/x'", "ALICE: is in it twice, in another case"),
        ("[alice]\nquota='x'\n[bob]\nuid=1", "bob: uid and gid must be given together"),
    ],
)
def test_faulty_tables_are_named(text, why):
    with pytest.raises(FileFault) as caught:
        parse_toml_file(text.encode(errors="surrogateescape"), fold_case=True)

    assert why in str(caught.value)
