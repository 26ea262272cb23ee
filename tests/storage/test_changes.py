import shutil

import pytest

from storage.changes import MaildirView
from storage.folders import Layout
from tests.support.scripting import new_maildir, opened


@pytest.fixture
def maildir(tmp_path):
    return new_maildir(tmp_path / "bob", ".A")


@pytest.fixture
def view(maildir):
    (maildir / "cur/old:2,S").touch()
    view = MaildirView(Layout.MAILDIRPP)
    assert view.look(opened(maildir)) == []
    return view


def told(changes):
    return [(each.kind, each.folder, each.name, each.flags_before) for each in changes]


def noticed(view, maildir, *paths):
    return told(view.notice(opened(maildir), [tuple(path.split("/")) for path in paths]))


CASES = {
    "arrival": (lambda m: (m / "new/x").touch(), ["new/x"], [("arrived", "INBOX", "new/x", "")]),
    "arrival in a folder": (
        lambda m: (m / ".A/cur/x:2,F").touch(),
        [".A/cur/x:2,F"],
        [("arrived", "A", "cur/x:2,F", "")],
    ),
    "flags": (
        lambda m: (m / "cur/old:2,S").rename(m / "cur/old:2,RS"),
        ["cur/old:2,S", "cur/old:2,RS"],
        [("flags", "INBOX", "cur/old:2,RS", "S")],
    ),
    "flags, half told": (
        lambda m: (m / "cur/old:2,S").rename(m / "cur/old:2,RS"),
        ["cur/old:2,RS"],
        [("flags", "INBOX", "cur/old:2,RS", "S")],
    ),
    "deletion": (
        lambda m: (m / "cur/old:2,S").unlink(),
        ["cur/old:2,S"],
        [("deleted", "INBOX", "cur/old:2,S", "")],
    ),
    "a new folder with mail": (
        lambda m: (new_maildir(m / ".B"), (m / ".B/new/x").touch()),
        [".B"],
        [("arrived", "B", "new/x", "")],
    ),
    "a folder that goes": (
        lambda m: shutil.rmtree(m / ".A"),
        [".A"],
        [],
    ),
    "what is being delivered": (lambda m: (m / "tmp/x").touch(), ["tmp/x"], []),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_notice_leads_to_the_change(maildir, view, case):
    act, paths, expected = CASES[case]
    act(maildir)

    changes = noticed(view, maildir, *paths)
    changes += told(view.settle(opened(maildir)))

    assert changes == expected
    assert told(view.look(opened(maildir))) == []


@pytest.mark.parametrize("case", CASES)
def test_whoever_missed_the_notice_is_told_the_same(maildir, view, case):
    act, _, expected = CASES[case]
    act(maildir)

    assert told(view.look(opened(maildir))) == expected


def test_a_reader_that_takes_a_message_changes_nothing(maildir, view):
    (maildir / "new/x").touch()
    noticed(view, maildir, "new/x")
    (maildir / "new/x").rename(maildir / "cur/x:2,")

    assert noticed(view, maildir, "new/x", "cur/x:2,") == []
    assert view.is_settled()


def test_a_message_is_not_called_gone_before_somebody_has_looked(maildir, view):
    (maildir / "cur/old:2,S").rename(maildir / "cur/old:2,RS")

    assert noticed(view, maildir, "cur/old:2,S") == []
    assert not view.is_settled()
    assert told(view.settle(opened(maildir))) == [("flags", "INBOX", "cur/old:2,RS", "S")]
    assert view.is_settled()


def test_a_folder_that_went_before_the_notice_came(maildir, view):
    (maildir / ".A/new/x").touch()
    noticed(view, maildir, ".A/new/x")
    shutil.rmtree(maildir / ".A")

    assert noticed(view, maildir, ".A/new/x") == []
    assert told(view.settle(opened(maildir))) == [("deleted", "A", "new/x", "")]


def test_in_a_new_maildir_everything_has_arrived(maildir):
    (maildir / "new/x").touch()

    assert told(MaildirView(Layout.MAILDIRPP, is_new=True).look(opened(maildir))) == [
        ("arrived", "INBOX", "new/x", "")
    ]
