"""What a source says of a user, read from texts."""

import pytest

from lmtpd.protocol.addresses import Address
from lmtpd.recipients.entry import TARGETS, Entry, EntryError, read_entry
from lmtpd.recipients.mailbox import MailboxOwner
from lmtpd.recipients.rules import Detail
from storage.quota_limit import QuotaLimit


def test_every_field():
    entry = read_entry(
        {
            "home": "/home/alice",
            "maildir": "~/mail",
            "uid": 1000,
            "gid": "8",
            "quota": "2G,100M",
            "detail": "create",
            "script": "main.sieve",
            "alias": "a@x.org, b@x.org",
        }
    )

    assert entry == Entry(
        home="/home/alice",
        maildir="~/mail",
        owner=MailboxOwner(1000, 8),
        quota=QuotaLimit(2 << 30, 100),
        detail=Detail.CREATE,
        script="main.sieve",
        targets=(Address("a", "x.org"), Address("b", "x.org")),
    )


def test_nothing_and_empty_texts_say_nothing():
    assert read_entry({"home": None, "quota": "", "maildir": b"", "user": "alice"}) == Entry()


def test_names_of_users_and_groups():
    assert read_entry({"uid": "mail", "gid": "mail"}).owner == MailboxOwner(8, 8)


def test_dovecots_quota_rule():
    assert read_entry({"quota": "*:storage=1G:messages=5"}).quota == QuotaLimit(1 << 30, 5)


def test_targets_of_an_alias_are_named_once():
    entry = read_entry({"alias": [b"a@x.org", "b@x.org a@X.org"]})

    assert entry.targets == (Address("a", "x.org"), Address("b", "x.org"))


@pytest.mark.parametrize(
    "fields, why",
    [
        ({"quotta": "1G"}, "'quotta' means nothing here; what does is home, maildir"),
        ({"home": "alice"}, "home 'alice' must be an absolute path"),
        ({"uid": "1000"}, "uid and gid must be given together"),
        ({"gid": "1000"}, "uid and gid must be given together"),
        ({"uid": "0", "gid": "0"}, "root's rights"),
        ({"uid": "no-such-user", "gid": "8"}, "neither a number nor a name"),
        ({"uid": "8", "gid": "-1"}, "neither a number nor a name"),
        ({"quota": "much"}, "quota 'much' must be a size"),
        ({"detail": "perhaps"}, "must be one of inbox, existing, create"),
        ({"home": b"/\xff"}, "home is not UTF-8 text"),
        ({"home": "/a\nb"}, "control characters"),
        ({"home": 1.5}, "home must be text or a whole number, not float"),
        ({"quota": True}, "quota must be text or a whole number, not bool"),
        ({"alias": " , "}, "alias names nobody"),
        ({"alias": "a b@"}, "'b@' is no address"),
        ({"alias": "<a@x.org>"}, "is no address"),
        ({"alias": [f"a{n}@x.org" for n in range(TARGETS + 1)]}, "more than 1000 targets"),
    ],
)
def test_what_cannot_be_read_is_said(fields, why):
    with pytest.raises(EntryError) as caught:
        read_entry(fields)

    assert why in str(caught.value)
