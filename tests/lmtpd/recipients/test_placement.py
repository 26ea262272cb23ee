"""From an entry to a Maildir."""

from pathlib import Path

import pytest

from lmtpd.recipients.entry import Entry, EntryError
from lmtpd.recipients.lookup import Question
from lmtpd.recipients.mailbox import Mailbox, Unknown
from lmtpd.recipients.placement import Placement
from lmtpd.recipients.rules import Detail, MaildirRules
from storage.disk import Disk
from storage.folders import FolderNames, Layout
from storage.maildir import MaildirPath
from storage.quota_limit import QuotaLimit
from tests.support.recipients import rules

ALICE = Question("alice", None, "example.org")
SITE = rules(Path("/srv/mail"))


def placed(entry: Entry, site: MaildirRules = SITE, *, path: str | None = None) -> MaildirPath:
    placement = Placement(Disk(), site, {}, path=path)
    found = placement.place(entry, ALICE, placement.rules_of("example.org"))
    assert isinstance(found, Mailbox)
    return found.maildir


def test_the_first_that_there_is_decides():
    everything = Entry(home="/home/alice", maildir="/big/alice")

    assert placed(everything, path="/own/{user}") == MaildirPath("/big", ("alice",))
    assert placed(Entry(home="/home/alice"), path="/own/{user}") == MaildirPath("/own", ("alice",))
    assert placed(Entry(home="/home/alice")) == MaildirPath("/home/alice", ("Maildir",))
    assert placed(Entry()) == MaildirPath("/srv/mail", ("example.org", "alice"))


def test_a_path_may_begin_at_home():
    assert placed(Entry(home="/home/alice"), path="{home}/m/{user}") == MaildirPath(
        "/home/alice", ("m", "alice")
    )
    with pytest.raises(EntryError, match="no home is known"):
        placed(Entry(), path="{home}/m")


@pytest.mark.parametrize(
    "maildir, where",
    [
        ("~/m", MaildirPath("/home/alice", ("m",))),
        ("a/b/", MaildirPath("/home/alice", ("a", "b"))),
        ("/home/alice/m", MaildirPath("/home/alice", ("m",))),
        ("/srv/mail/x/y", MaildirPath("/srv/mail", ("x", "y"))),
        ("/other/x/y/", MaildirPath("/other/x", ("y",))),
    ],
)
def test_what_lies_below_a_known_root_is_reached_without_links(maildir, where):
    assert placed(Entry(home="/home/alice", maildir=maildir)) == where


def test_a_relative_maildir_without_a_home_lies_below_the_site_root():
    assert placed(Entry(maildir="example.org/alice/")) == MaildirPath("/srv/mail", ("example.org", "alice"))


@pytest.mark.parametrize("maildir", ["../x", "/srv/../x", "/", "~/../x"])
def test_maildirs_that_lead_elsewhere_are_refused(maildir):
    with pytest.raises(EntryError):
        placed(Entry(home="/home/alice", maildir=maildir))


def test_no_place_at_all_is_said():
    site = MaildirRules(
        template=None,
        create=False,
        layout=Layout.MAILDIRPP,
        detail=Detail.INBOX,
        delimiters="+",
        fold_case=True,
    )

    with pytest.raises(EntryError, match="no path is configured"):
        placed(Entry(), site)
    with pytest.raises(EntryError, match="is relative"):
        placed(Entry(maildir="x"), site)


@pytest.mark.parametrize("user", ["../x", ".", "a/b", "x" * 256])
def test_names_that_no_path_can_be_made_of_are_unknown_users(user):
    question = Question(user, None, "example.org")

    assert isinstance(Placement(Disk(), SITE, {}).place(Entry(), question, SITE), Unknown)


def test_the_users_own_wishes_go_before_the_domains_and_the_sites():
    own = rules(Path("/srv/mail"), quota=QuotaLimit(7), layout=Layout.FS)
    placement = Placement(Disk(), SITE, {"example.org": own})
    entry = Entry(quota=QuotaLimit(5), names=FolderNames.UTF8)

    found = placement.place(entry, ALICE, placement.rules_of("example.org"))
    other = placement.place(Entry(), ALICE, placement.rules_of("example.org"))
    elsewhere = placement.place(Entry(), ALICE, placement.rules_of("example.net"))

    assert isinstance(found, Mailbox)
    assert isinstance(other, Mailbox)
    assert isinstance(elsewhere, Mailbox)
    assert (found.quota, found.layout, found.names) == (QuotaLimit(5), Layout.FS, FolderNames.UTF8)
    assert (other.quota, other.names) == (QuotaLimit(7), FolderNames.UTF7)
    assert (elsewhere.quota, elsewhere.layout) == (None, Layout.MAILDIRPP)
