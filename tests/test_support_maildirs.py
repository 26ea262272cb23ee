"""What the tests expect on disk is itself tested: against examples worked out by hand."""

import pytest

from tests.support import maildirs

ADDED = (
    b"Return-Path: <s@example.org>\nDelivered-To: r@example.org\n"
    b"Received: from c.example.org\n\tby mx.example.org with LMTP id 1\n\tfor <r@example.org>; now\n"
)


@pytest.mark.parametrize(
    "wire, disk",
    [
        (b"", b""),
        (b"Subject: a\r\n\r\nb\r\n", b"Subject: a\n\nb\n"),
        (b"a\rb\nc\r\r\n\0", b"a\rb\nc\r\n\0"),
        (b"Return-Path: <x>\r\nSubject: a\r\n\r\nb", b"Subject: a\n\nb"),
        (b"A: 1\r\nRETURN-PATH:\r\n <x>\r\n\t(y)\r\nB: 2\r\n\r\n", b"A: 1\nB: 2\n\n"),
        (b"A: 1\r\n\r\nReturn-Path: <x>\r\n", b"A: 1\n\nReturn-Path: <x>\n"),
        (b"A: 1\r\nReturn-Path: <x>\r\n", b"A: 1\n"),
    ],
)
def test_message_on_disk(wire, disk):
    assert maildirs.on_disk(wire) == disk


def test_our_headers_are_taken_off_exactly(tmp_path):
    original = b"Delivered-To: somebody else\nReceived: by us\n\ttoo\n\nbody\n"
    data = ADDED + original
    octets, line_ends = len(data), data.count(b"\n")
    path = tmp_path / f"1.M2P3Q4R5f.mx,S={octets},W={octets + line_ends}:2,S"
    path.write_bytes(data)
    path.chmod(0o600)

    stored = maildirs.read(path)

    assert stored.original == original
    assert stored.return_path == "<s@example.org>"
    assert stored.delivered_to == "r@example.org"
    assert stored.original_to is None
    assert stored.received.startswith("from c.example.org")


@pytest.mark.parametrize("name", ["1.M2P3Q4R5f.mx,S=1,W=2", "1.M2P3Q4R5f.mx", "mine"])
def test_wrong_name_is_noticed(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(ADDED)
    path.chmod(0o600)

    with pytest.raises(AssertionError):
        maildirs.read(path)


def test_wire_octets_counts_each_bare_lf_once_more():
    assert maildirs.wire_octets(b"a\nb\r\nc\rd") == len(b"a\r\nb\r\nc\rd")
