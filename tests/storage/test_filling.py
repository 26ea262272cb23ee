"""A folder being filled."""

import pytest

from storage import filling
from storage.filling import Filling, Trial
from storage.incoming import Incoming
from storage.names import NameSource
from storage.quota_limit import NOTHING, Usage
from tests.support.arrivals import stored
from tests.support.scripting import new_maildir, opened, tree


def mail(
    content: bytes, *, flags: str = "", keywords: tuple[str, ...] = (), is_new: bool = False
) -> Incoming:
    return Incoming("here", "INBOX", content, flags, keywords, is_new, 5_000_000_000)


@pytest.fixture
def maildir(tmp_path):
    return new_maildir(tmp_path / "box", ".A")


@pytest.fixture
def fill(maildir):
    inbox = opened(maildir)
    return Filling(inbox, inbox.enter(".A"), NameSource("host", "ab"))


def test_what_is_put_shows_when_it_is_published(fill, maildir):
    before = tree(maildir)
    for message in (mail(b"a", flags="S", keywords=("work",)), mail(b"b", is_new=True), mail(b"c")):
        fill.put(message)
    assert stored(maildir / ".A") == {}

    fill.publish()

    assert stored(maildir / ".A") == {b"a": ("cur", "Sa", 5), b"b": ("new", "", 5), b"c": ("cur", "", 5)}
    assert (fill.added, fill.skipped) == (Usage(3, 3), 0)
    assert before.keys() < tree(maildir).keys()


def test_a_new_message_with_a_flag_is_not_new(fill, maildir):
    fill.put(mail(b"a", flags="F", is_new=True))
    fill.publish()

    assert stored(maildir / ".A") == {b"a": ("cur", "F", 5)}


def test_copies_that_are_there_are_passed_over(maildir):
    (maildir / ".A/cur/1.x:2,").write_bytes(b"a")
    fill = Filling(opened(maildir), opened(maildir / ".A"), NameSource("host", "ab"))

    for _ in range(3):
        fill.put(mail(b"a"))
    fill.publish()

    assert (fill.added, fill.skipped) == (Usage(2, 2), 1)
    assert len(list((maildir / ".A/cur").iterdir())) == 3


def test_what_is_closed_unpublished_is_gone(fill, maildir):
    before = tree(maildir)

    fill.put(mail(b"a"))
    fill.close()

    assert tree(maildir) == before


def test_nothing_is_published_without_a_message(fill, maildir):
    (maildir / "maildirsize").write_text("1S\n0 0\n")

    fill.publish()

    assert (maildir / "maildirsize").read_text() == "1S\n0 0\n"


def test_a_group_is_full_by_number_or_by_size(fill, monkeypatch):
    monkeypatch.setattr(filling, "GROUP_MESSAGES", 2)
    monkeypatch.setattr(filling, "GROUP_OCTETS", 10)

    full = []
    for content in (b"1", b"2", b"0123456789"):
        fill.put(mail(content))
        full.append(fill.is_group_full)
        if fill.is_group_full:
            fill.publish()

    assert full == [False, True, True]


def test_a_trial_does_nothing(maildir):
    (maildir / "cur/1.x:2,").write_bytes(b"a")
    before = tree(maildir)
    trial = Trial(opened(maildir))

    for content in (b"a", b"a", b"b"):
        trial.put(mail(content))
    trial.publish()
    trial.close()

    assert (trial.added, trial.skipped, trial.is_group_full) == (Usage(2, 2), 1, False)
    assert tree(maildir) == before
    assert Trial(None).added == NOTHING
