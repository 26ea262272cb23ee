import re
from email import message_from_bytes
from email.utils import parsedate_to_datetime
from time import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmtpd.delivery.headers import (
    DateClock,
    Trace,
    date_of,
    delivered_to_of,
    header_end,
    hops_of,
    message_id_of,
    original_recipient,
    protocol_name,
    queue_id_of,
    source_clause,
    topmost_received,
    without_return_path,
)

POSTFIX = (
    b"Received: from client.example (client.example [192.0.2.7])\n"
    b"\tby mx.example.org (Postfix) with ESMTPS id 4F2Bz91kQ0z1X\n"
    b"\tfor <a@example.org>; Tue, 24 Nov 2026 05:00:00 +0000 (UTC)\n"
    b"Received: from inner by outer with SMTP id OTHER; Tue, 24 Nov 2026 04:00:00 +0000\n"
)


def trace(**changes: str) -> Trace:
    values = {
        "sender": "s@example.net",
        "source": "mx.example.org",
        "hostname": "store.example.org",
        "protocol": "LMTP",
        "transaction_id": "a1b2",
        "date": "Tue, 24 Nov 2026 05:00:00 +0000",
    }
    return Trace(**(values | changes))


def test_fields_are_a_header_that_others_can_parse():
    fields = trace().fields("a@example.org", "alias@example.org")

    parsed = message_from_bytes(fields + b"\n")

    assert parsed["Return-Path"] == "<s@example.net>"
    assert parsed["Delivered-To"] == "a@example.org"
    assert parsed["X-Original-To"] == "alias@example.org"
    assert " ".join(parsed["Received"].split()) == (
        "from mx.example.org by store.example.org with LMTP id a1b2 "
        "for <a@example.org>; Tue, 24 Nov 2026 05:00:00 +0000"
    )
    assert list(parsed.keys()) == ["Return-Path", "Delivered-To", "X-Original-To", "Received"]


def test_the_null_sender_is_an_empty_return_path():
    assert trace(sender="").fields("a@b").startswith(b"Return-Path: <>\n")


def test_no_original_recipient_no_field():
    assert b"X-Original-To" not in trace().fields("a@b")


@pytest.mark.parametrize(
    "top, end",
    [
        (b"", 0),
        (b"\nbody", 0),
        (b"\r\nbody", 0),
        (b"A: b\n\nbody", 5),
        (b"A: b\r\n\r\nbody", 6),
        (b"A: b\n", 5),
        (b"A: b\n\r\nbody\n\n", 5),
        (b"no newline", 10),
    ],
)
def test_the_header_ends_before_the_first_empty_line(top: bytes, end: int):
    assert header_end(top) == end


@pytest.mark.parametrize(
    "before, after",
    [
        (b"Return-Path: <x@y>\nA: b\n\nbody\n", b"A: b\n\nbody\n"),
        (b"A: b\nreturn-path : <x@y>\n folded\n\there\nC: d\n\nbody", b"A: b\nC: d\n\nbody"),
        (b"RETURN-PATH:<>\r\nA: b\r\n\r\nbody", b"A: b\r\n\r\nbody"),
        (b"Return-Path: <1>\nReturn-Path: <2>\n\nbody", b"\nbody"),
        (b"X-Return-Path: <x>\n\nbody", b"X-Return-Path: <x>\n\nbody"),
        (b"A: b\n\nReturn-Path: in the body\n", b"A: b\n\nReturn-Path: in the body\n"),
        (b"A: Return-Path: x\n\n", b"A: Return-Path: x\n\n"),
        (b"\nReturn-Path: <x>\n", b"\nReturn-Path: <x>\n"),
        (b"Return-Path: no end", b"Return-Path: no end"),
    ],
)
def test_only_return_path_fields_of_the_header_go(before: bytes, after: bytes):
    assert without_return_path(before) == after


@given(st.lists(st.sampled_from([b"A: b\n", b" c\n", b"Return-Path: <x>\n", b"\n", b"x", b"\r\n"])))
def test_dropping_return_path_agrees_with_a_dull_line_reader(pieces: list[bytes]):
    text = b"".join(pieces)

    kept, dropping, in_header = [], False, True
    for line in text.splitlines(keepends=True) if b"\r" not in text.replace(b"\r\n", b"") else []:
        if in_header and line in (b"\n", b"\r\n"):
            in_header = False
        if in_header and line.startswith(b"Return-Path:") and line.endswith(b"\n"):
            dropping = True
            continue
        if not (in_header and dropping and line.startswith((b" ", b"\t")) and line.endswith(b"\n")):
            dropping = False
            kept.append(line)

    assert without_return_path(text) == b"".join(kept)


def test_queue_id_is_the_topmost_received_line():
    def queue_id_in(header: bytes) -> str:
        return queue_id_of(topmost_received(header))

    assert queue_id_in(POSTFIX) == "4F2Bz91kQ0z1X"
    assert queue_id_in(b"Subject: id 5\n") == ""
    assert queue_id_in(b"Received: by x with local\n\t(envelope-from <id@x>); date\n" + POSTFIX) == ""
    assert queue_id_in(b"Subject: x\r\nReceived: by x\r\n\tid ABC; d\r\n") == "ABC"


def test_date_is_what_stands_behind_the_last_semicolon():
    assert date_of(topmost_received(POSTFIX)) == "Tue, 24 Nov 2026 05:00:00 +0000 (UTC)"
    assert date_of(b" by x (a; b) id 5;\r\n\tTue, 24 Nov 2026 10:00:00 +0000") == (
        "Tue, 24 Nov 2026 10:00:00 +0000"
    )
    assert date_of(b" by x id 5") == ""
    assert date_of(b"; \xff" + b"x" * 200) == "\N{REPLACEMENT CHARACTER}" + "x" * 98


def test_message_id_is_taken_as_written_but_printable():
    assert message_id_of(b"A: b\nMessage-ID: <1@x>\n") == "<1@x>"
    assert message_id_of(b"message-id:\n <2@x>\n") == "<2@x>"
    assert message_id_of(b"Message-Id: <\x1b[31m\xff@x>\n") == "<?[31m\N{REPLACEMENT CHARACTER}@x>"
    assert message_id_of(b"A: b\n") == ""


@pytest.mark.parametrize(
    "orcpt, address",
    [
        (b"rfc822;alias@example.org", "alias@example.org"),
        (b"RFC822;a+2Bb@example.org", "a+b@example.org"),
        (b"x400;whatever", ""),
        (b"rfc822", ""),
        (b"", ""),
        (b"rfc822;a+0Ab@example.org", ""),
        (b"rfc822;bad+xtext", ""),
        ("utf-8;jürgen@example.org".encode(), "jürgen@example.org"),
        (rb"utf-8;j\x{FC}rgen@example.org", "jürgen@example.org"),
        (rb"UTF-8;a\x{5C}b@example.org", "a\\b@example.org"),
        (rb"utf-8;a\x{0A}b", ""),
        (rb"utf-8;a\x{D800}b", ""),
        (rb"utf-8;a\x{FFFFFF}b", ""),
        (b"utf-8;\xff", ""),
    ],
)
def test_the_original_recipient_is_read_from_orcpt_or_not_at_all(orcpt: bytes, address: str):
    assert original_recipient(orcpt) == address


def test_mailboxes_that_a_message_was_in_are_read_from_delivered_to():
    header = b"Delivered-To: a@EXAMPLE.org\nX: y\nDELIVERED-TO :<B@b.example>\r\nDelivered-To: \xc3\xbc@x\n"

    assert delivered_to_of(header) == {"a@example.org", "B@b.example", "ü@x"}
    assert delivered_to_of(b"X-Delivered-To: a@b\nTo: Delivered-To: a@b\n") == frozenset()


def test_hops_are_received_fields_in_any_case():
    assert hops_of(POSTFIX) == 2
    assert hops_of(b"A: b\nRECEIVED: x\nreceived: y\nX-Received: z\n") == 2
    assert hops_of(b"") == 0


@pytest.mark.parametrize(
    "helo, address, clause",
    [
        ("mx.example.org", "", "mx.example.org"),
        ("mx.example.org", "192.0.2.1", "mx.example.org ([192.0.2.1])"),
        ("[192.0.2.1]", "2001:db8::1", "[192.0.2.1] ([IPv6:2001:db8::1])"),
        ("evil\r\nX: y", "", "unknown"),
        ("a (comment", "192.0.2.1", "unknown ([192.0.2.1])"),
        ("", "", "unknown"),
    ],
)
def test_source_clause_holds_only_what_cannot_break_the_field(helo: str, address: str, clause: str):
    assert source_clause(helo, address) == clause


def test_protocol_names_of_rfc_3848_and_6531():
    names = [protocol_name(tls=tls, smtputf8=utf8) for tls in (False, True) for utf8 in (False, True)]

    assert names == ["LMTP", "UTF8LMTP", "LMTPS", "UTF8LMTPS"]


def test_dates_are_rfc_5322_and_now():
    clock = DateClock()

    text = clock()

    assert re.fullmatch(r"[A-Z][a-z]{2}, \d{1,2} [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d [+-]\d{4}", text)
    assert abs(parsedate_to_datetime(text).timestamp() - time()) < 5
    assert parsedate_to_datetime(clock()) >= parsedate_to_datetime(text)
