"""Copies made one."""

import os

import pytest

from storage.disk import exchange
from storage.duplicates import Copy, Group, Sameness, copies_in, groups
from storage.errors import MailboxMissing
from storage.listing import INBOX, Folder
from storage.merging import Linked, is_there, link_over, mark
from storage.messages import MessageFile
from storage.moving import move
from storage.names import NameSource
from tests.support.arrivals import WHEN, put
from tests.support.scripting import new_maildir, opened

TOP = Folder(INBOX, ())
NAMES = NameSource("host", "ab")


@pytest.fixture
def maildir(tmp_path):
    maildir = new_maildir(tmp_path / "box", ".A")
    put(maildir, "cur/1.x:2,S", b"same", WHEN)
    put(maildir, "cur/2.x:2,F", b"same", WHEN)
    return maildir


def pair(maildir) -> Group:
    (group,) = groups(opened(maildir), copies_in(opened(maildir), TOP), Sameness.CONTENT)
    return group


def test_marks_are_added(maildir):
    group = pair(maildir)

    place = mark(opened(maildir), group.kept, group.flags_to_add)

    assert place == MessageFile("cur", "1.x:2,FS")
    assert sorted(os.listdir(maildir / "cur")) == ["1.x:2,FS", "2.x:2,F"]
    assert mark(opened(maildir), group.kept, "F") == place


def test_a_new_message_that_is_marked_goes_to_cur(maildir):
    put(maildir, "new/3.x", b"new")
    (copy,) = [copy for copy in copies_in(opened(maildir), TOP) if copy.message.part == "new"]

    assert mark(opened(maildir), copy, "") == MessageFile("new", "3.x")
    assert mark(opened(maildir), copy, "S") == MessageFile("cur", "3.x:2,S")


def test_what_has_gone_cannot_be_marked_and_is_not_there(maildir):
    kept = pair(maildir).kept
    assert is_there(opened(maildir), kept)
    (maildir / "cur/1.x:2,S").rename(maildir / "cur/1.x:2,RS")
    assert is_there(opened(maildir), kept)

    (maildir / "cur/1.x:2,RS").unlink()

    assert not is_there(opened(maildir), kept)
    with pytest.raises(MailboxMissing):
        mark(opened(maildir), kept, "S")
    put(maildir, "cur/1.x:2,S", b"another file")
    assert not is_there(opened(maildir), kept)


def linked(maildir) -> Linked:
    group = pair(maildir)
    return link_over(opened(maildir), group.kept, group.surplus[0], NAMES)


def test_a_copy_becomes_a_link(maildir):
    assert linked(maildir) is Linked.DONE
    assert (maildir / "cur/1.x:2,S").samefile(maildir / "cur/2.x:2,F")
    assert linked(maildir) is Linked.ALREADY


@pytest.mark.parametrize("which", [0, 1])
def test_a_file_that_was_replaced_is_left(maildir, which):
    group = pair(maildir)
    name = group.copies[which].message.name
    put(maildir, "other", b"same", WHEN)
    (maildir / "other").rename(maildir / "cur" / name)

    assert link_over(opened(maildir), group.kept, group.surplus[0], NAMES) is Linked.CHANGED
    assert (maildir / "cur" / name).stat().st_nlink == 1


@pytest.mark.parametrize("which", [0, 1])
def test_a_message_that_was_deleted_is_left(maildir, which):
    group = pair(maildir)
    (maildir / "cur" / group.copies[which].message.name).unlink()

    assert link_over(opened(maildir), group.kept, group.surplus[0], NAMES) is Linked.CHANGED
    assert os.listdir(maildir / "tmp") == []


def test_one_that_is_deleted_right_before_the_link(maildir, monkeypatch):
    def deleted(*names, **fds):
        raise FileNotFoundError

    group = pair(maildir)
    monkeypatch.setattr("storage.merging.link", deleted)

    assert link_over(opened(maildir), group.kept, group.surplus[0], NAMES) is Linked.CHANGED


@pytest.mark.parametrize("then", ["nothing", "rename", "delete"])
def test_a_file_that_comes_between_is_never_lost(maildir, monkeypatch, then):
    group, calls = pair(maildir), []
    victim = maildir / "cur" / group.surplus[0].message.name

    def interfering(name, other, **fds):
        calls.append(name)
        if len(calls) == 1:
            put(maildir, "other", b"precious", WHEN)
            (maildir / "other").rename(victim)
        elif then == "rename":
            victim.rename(maildir / "cur/2.x:2,FS")
        elif then == "delete":
            victim.unlink()
        exchange(name, other, **fds)

    monkeypatch.setattr("storage.merging.exchange", interfering)

    assert link_over(opened(maildir), group.kept, group.surplus[0], NAMES) is Linked.CHANGED

    assert victim.read_bytes() == b"precious"
    assert os.listdir(maildir / "tmp") == []


def test_a_file_system_that_cannot_exchange_is_said(maildir, monkeypatch):
    monkeypatch.setattr("storage.disk._renameat2", None)

    with pytest.raises(OSError, match="not implemented"):
        linked(maildir)

    assert os.listdir(maildir / "tmp") == []


def test_another_file_system_has_no_links(maildir):
    group = pair(maildir)
    kept = group.kept
    elsewhere = Copy(kept.folder, kept.message, kept.octets, kept.arrived_ns, (kept.identity[0] + 1, 1))

    assert link_over(opened(maildir), elsewhere, group.surplus[0], NAMES) is Linked.DEVICE


def test_what_a_link_would_change_must_be_the_same(maildir):
    os.utime(maildir / "cur/2.x:2,F", (WHEN, WHEN + 1))
    assert linked(maildir) is Linked.DATE
    os.utime(maildir / "cur/2.x:2,F", (WHEN, WHEN))
    (maildir / "cur/2.x:2,F").chmod(0o600)
    (maildir / "cur/1.x:2,S").chmod(0o640)
    assert linked(maildir) is Linked.OWNER


def test_a_copy_that_is_renamed_right_before_the_exchange(maildir, monkeypatch):
    def renamed(name, other, **fds):
        (maildir / "cur" / other).rename(maildir / "cur/2.x:2,FS")
        exchange(name, other, **fds)

    monkeypatch.setattr("storage.merging.exchange", renamed)

    assert linked(maildir) is Linked.CHANGED
    assert sorted(os.listdir(maildir / "cur")) == ["1.x:2,S", "2.x:2,FS"]
    assert os.listdir(maildir / "tmp") == []


def test_exchange_needs_both(maildir):
    folder = opened(maildir / "cur")

    exchange("1.x:2,S", "2.x:2,F", dir_fd=folder.fd, other_dir_fd=folder.fd)
    with pytest.raises(FileNotFoundError):
        exchange("1.x:2,S", "3.x", dir_fd=folder.fd, other_dir_fd=folder.fd)

    assert sorted(os.listdir(maildir / "cur")) == ["1.x:2,S", "2.x:2,F"]


def test_exchange_that_the_system_does_not_know(maildir, monkeypatch):
    monkeypatch.setattr("storage.disk._renameat2", None)

    with pytest.raises(OSError, match="not implemented"):
        exchange("1.x:2,S", "2.x:2,F", dir_fd=0, other_dir_fd=0)


def test_a_message_that_is_moved_has_a_new_name_and_its_keywords(maildir):
    put(maildir, "cur/9.x,S=1,W=2:2,SaTb", b"x", WHEN)
    put(maildir, "dovecot-keywords", b"0 work\n")
    put(maildir, ".A/dovecot-keywords", b"0 play\n")

    place = move(opened(maildir), MessageFile("cur", "9.x,S=1,W=2:2,S"), opened(maildir / ".A"), NAMES)

    assert place.name.endswith(".host,S=1,W=2:2,STb")
    assert (maildir / ".A/cur" / place.name).stat().st_mtime == WHEN
    assert (maildir / ".A/dovecot-keywords").read_text() == "0 play\n1 work\n"
    with pytest.raises(MailboxMissing):
        move(opened(maildir), MessageFile("cur", "9.x,S=1,W=2:2,S"), opened(maildir / ".A"), NAMES)
