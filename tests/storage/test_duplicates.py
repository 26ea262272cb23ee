"""What makes two messages the same."""

from dataclasses import replace

import pytest

from storage.duplicates import Sameness, copies_in, groups, mail_of, message_id
from storage.listing import INBOX, Folder
from tests.support.arrivals import WHEN, put
from tests.support.scripting import new_maildir, opened

TOP = Folder(INBOX, ())
BODY = b"Subject: x\n\nbody\n"


@pytest.mark.parametrize(
    "top",
    [
        b"",
        b"Return-Path: <>\n",
        b"RETURN-PATH : <>\nDelivered-To: x\nX-Original-To: y\nReceived: a\n\tb\n c\nReceived: d\n",
    ],
)
def test_fields_that_deliveries_add_do_not_count(top):
    assert mail_of(top + BODY) == BODY


@pytest.mark.parametrize(
    "content", [b"X-A: b\nReceived: c\n\n", b"\nReceived: c\n", b"Received", b"", b"Receivedx: y\n\n"]
)
def test_only_at_the_top(content):
    assert mail_of(content) == content


@pytest.mark.parametrize(
    "header, found",
    [
        (b"Message-ID: <a@b>\n\n", "<a@b>"),
        (b"x: y\nMESSAGE-id:\n\t<a@b> (comment)\n\n", "<a@b>"),
        (b"Message-ID: <a@b>", "<a@b>"),
        (b"Message-ID: a@b\n\n", None),
        (b"x: y\n\nMessage-ID: <a@b>\n", None),
        (b"x: y\r\n\r\nMessage-ID: <a@b>\r\n", None),
        (b"X-Message-ID: <a@b>\n\n", None),
        (b"Message-ID: <\xff>\n\n", "<\\xff>"),
        (b"", None),
    ],
)
def test_message_ids(header, found):
    assert message_id(header) == found


@pytest.fixture
def maildir(tmp_path):
    maildir = new_maildir(tmp_path / "box")
    put(maildir, "cur/2.x:2,FSab", b"Received: x\n" + MAIL, WHEN)
    put(maildir, "cur/1.x:2,DRT", MAIL, WHEN)
    put(maildir, "cur/3.x:2,P", MAIL + b"footer\n", WHEN + 1)
    put(maildir, "cur/4.x:2,", b"Subject: without\n\n", WHEN)
    put(maildir, "cur/5.x:2,", b"Subject: without\n\n", WHEN - 1)
    return maildir


MAIL = b"Message-ID: <1@x>\n\nbody\n"


@pytest.mark.parametrize(
    "sameness, found",
    [
        (Sameness.CONTENT, [["5.x", "4.x"]]),
        (Sameness.MAIL, [["5.x", "4.x"], ["2.x", "1.x"]]),
        (Sameness.MESSAGE_ID, [["2.x", "3.x", "1.x"]]),
    ],
)
def test_groups(maildir, sameness, found):
    same = groups(opened(maildir), copies_in(opened(maildir), TOP), sameness)

    assert [[copy.message.base for copy in group.copies] for group in same] == found


def test_flags_of_those_that_go_are_added_to_the_one_that_stays(maildir):
    (group,) = groups(opened(maildir), copies_in(opened(maildir), TOP), Sameness.MESSAGE_ID)
    kept, *others = group.copies
    elsewhere = replace(group, copies=(replace(kept, folder=Folder("A", (".A",))), *others))

    assert kept.message.base == "2.x"
    assert group.flags_to_add == "PR"
    keywords = replace(group, copies=(others[0], kept))
    assert keywords.flags_to_add == "FSab"
    assert replace(elsewhere, copies=elsewhere.copies[::-1]).flags_to_add == "FPS"


def test_what_goes_meanwhile_is_in_no_group(maildir):
    copies = list(copies_in(opened(maildir), TOP))
    (maildir / "cur/5.x:2,").unlink()

    assert groups(opened(maildir), copies, Sameness.CONTENT) == []
    assert len(list(copies_in(opened(maildir), TOP))) == 4
