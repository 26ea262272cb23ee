"""A message from a pipe: line ends, and the mbox line on top."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmtpd.cli import stdin
from lmtpd.cli.stdin import wire_chunks


def read(data, chunk_octets, monkeypatch):
    monkeypatch.setattr(stdin, "CHUNK_OCTETS", chunk_octets)
    return b"".join(wire_chunks(io.BytesIO(data)))


@pytest.mark.parametrize(
    "data, expected",
    [
        (b"", b""),
        (b"a\nb\n", b"a\r\nb\r\n"),
        (b"a\r\nb\r\n", b"a\r\nb\r\n"),
        (b"a\r\nb\n\r\n\n", b"a\r\nb\r\n\r\n\r\n"),
        (b"a\rb\r", b"a\rb\r"),
        (b"a\r\r\nb", b"a\r\r\nb"),
        (b"no end", b"no end"),
        (b"\0\xff\n", b"\0\xff\r\n"),
        (b".\n", b".\r\n"),
        (b"From alice Mon Nov 23\nSubject: x\n\nFrom me\n", b"Subject: x\r\n\r\nFrom me\r\n"),
        (b"From alice Mon Nov 23\r\nSubject: x\n", b"Subject: x\r\n"),
        (b"From alice\n", b""),
        (b"From alice", b""),
        (b"From: alice\n", b"From: alice\r\n"),
        (b">From alice\n", b">From alice\r\n"),
    ],
)
@pytest.mark.parametrize("chunk_octets", [5, 6, 7, 8, 13, 65536])
def test_message_as_on_the_wire(data, expected, chunk_octets, monkeypatch):
    assert read(data, chunk_octets, monkeypatch) == expected


@given(
    data=st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"a", b"From ", b"."])).map(b"".join),
    chunk_octets=st.integers(5, 12),
)
def test_chunks_do_not_matter(data, chunk_octets):
    with pytest.MonkeyPatch.context() as patch:
        in_pieces = read(data, chunk_octets, patch)
        whole = read(data, 1 << 20, patch)

    assert in_pieces == whole
    assert b"\n" not in whole.replace(b"\r\n", b"")


def test_large_message_is_never_whole_in_memory():
    sizes = [len(chunk) for chunk in wire_chunks(io.BytesIO(b"x\n" * 500_000))]

    assert sum(sizes) == 1_500_000
    assert max(sizes) <= 2 * stdin.CHUNK_OCTETS
