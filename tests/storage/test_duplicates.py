"""What makes two messages the same."""

import pytest

from storage.duplicates import mail_of, message_id

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
