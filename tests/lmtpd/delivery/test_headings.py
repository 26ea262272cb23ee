"""What stands on top of the copies of one transaction."""

from pathlib import Path

import pytest

from lmtpd.delivery.headers import Trace
from lmtpd.delivery.headings import BLANKS, Headings, SingleInstance
from lmtpd.delivery.transaction import Transaction
from tests.support.services import A, B, C, begin, make_service

TRACE = Trace("s@example.net", "client", "mx.example.org", "LMTP", "1d", "Tue, 24 Nov 2026 05:00:00 +0000")


def arranged(transaction: Transaction, rule: SingleInstance, *, binary: bool = False) -> list[bytes]:
    copies = transaction._copies
    assert transaction.open_body().code == 354
    headings = Headings(lambda: TRACE, binary=binary)
    headings.arrange(copies, rule)
    return [headings.of(copy) for copy in copies]


def test_own_fields_unless_something_is_to_be_shared(tmp_path: Path):
    fields = arranged(begin(make_service(tmp_path), [A, B]), SingleInstance.OFF)

    assert fields == [TRACE.fields(A), TRACE.fields(B)]


def test_copies_that_are_linked_name_nobody(tmp_path: Path):
    fields = arranged(begin(make_service(tmp_path), [A, B, C]), SingleInstance.LINK)

    assert fields[0] == (
        b"Return-Path: <s@example.net>\n"
        b"Received: from client\n"
        b"\tby mx.example.org with LMTP id 1d;\n"
        b"\tTue, 24 Nov 2026 05:00:00 +0000\n"
    )
    assert fields == [fields[0]] * 3


@pytest.mark.parametrize("recipients", [[A], [A, A]])
def test_who_shares_with_nobody_keeps_his_own_fields(tmp_path: Path, recipients: list[str]):
    fields = arranged(begin(make_service(tmp_path), recipients), SingleInstance.LINK)

    assert fields[0] == TRACE.fields(A)


def test_who_is_left_alone_by_the_trouble_of_others_keeps_his_own_fields(tmp_path: Path):
    transaction = begin(make_service(tmp_path), [A, B])
    (tmp_path / "mail/example.org/b").mkdir(parents=True)
    (tmp_path / "mail/example.org/b/new").write_text("no directory")

    assert arranged(transaction, SingleInstance.LINK)[0] == TRACE.fields(A)


@pytest.mark.parametrize("binary", [False, True])
def test_shared_bodies_begin_at_the_same_place(tmp_path: Path, binary: bool):
    recipients = [A, "somebody.with.a.long.name@sub.example.org", C]

    fields = arranged(begin(make_service(tmp_path), recipients), SingleInstance.SHARE, binary=binary)

    assert len({len(each) for each in fields}) == 1
    end = b"\r\n" if binary else b"\n"
    for each, address in zip(fields, recipients, strict=True):
        assert b"Delivered-To: " + address.encode() + end in each
        assert each.endswith(b" Tue, 24 Nov 2026 05:00:00 +0000" + end)
    assert fields[1] == TRACE.fields(recipients[1]).replace(b"\n", end)


def test_a_field_is_not_made_longer_than_lines_may_be(tmp_path: Path):
    transaction = begin(make_service(tmp_path), [A, B, C])
    first, second, _ = transaction._copies
    longest = len(TRACE.fields(A)) + BLANKS
    for copy, octets in ((first, longest), (second, longest + 1)):
        heading = TRACE.fields(copy.address, "x")
        copy.original = "x" * (1 + octets - len(heading))
        assert len(TRACE.fields(copy.address, copy.original)) == octets

    fields = arranged(transaction, SingleInstance.SHARE)

    assert [len(each) for each in fields] == [longest + 1, longest + 1, len(TRACE.fields(C))]


def test_blanks_do_not_change_what_a_header_says():
    plain, padded = TRACE.fields(A), TRACE.fields(A, blanks=7)

    assert len(padded) == len(plain) + 7
    assert padded.split() == plain.split()
