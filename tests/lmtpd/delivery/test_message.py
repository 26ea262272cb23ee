import hashlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmtpd.delivery import message as module
from lmtpd.delivery.message import Incoming, Message


class MemorySpool:
    def __init__(self) -> None:
        self.opened = 0
        self.data = b""

    def open(self) -> None:
        self.opened += 1

    def write(self, data: bytes) -> None:
        self.data += data


def receive(chunks: list[bytes], *, binary: bool = False) -> tuple[Message, bytes, MemorySpool]:
    spool = MemorySpool()
    incoming = Incoming(binary=binary, spool=spool)
    for chunk in chunks:
        incoming.add(chunk)
    message = incoming.finish()
    return message, spool.data if message.data is None else message.data, spool


def wire_size(stored: bytes) -> int:
    """Dull oracle of W=: every LF that has no CR before it becomes CRLF."""
    return sum(2 if byte == 10 and stored[i - 1 : i] != b"\r" else 1 for i, byte in enumerate(stored))


def test_a_small_body_stays_in_memory_with_lf_line_ends():
    message, stored, spool = receive([b"A: b\r\n\r\nhello\r\n"])

    assert stored == b"A: b\n\nhello\n"
    assert (message.octets, message.wire_octets) == (12, 15)
    assert message.header == b"A: b\n"
    assert spool.opened == 0


def test_binarymime_keeps_every_octet():
    body = b"A: b\r\nReturn-Path: <x>\r\n\r\n\r\n\n\r\0"

    message, stored, _ = receive([body], binary=True)

    assert stored == b"A: b\r\n\r\n\r\n\n\r\0"
    assert message.wire_octets == wire_size(stored)


def test_the_digest_is_of_the_octets_as_received():
    body = b"Return-Path: <x>\r\nA: b\r\n\r\n"

    message, _, _ = receive([body[:7], body[7:]])

    assert message.digest == hashlib.sha256(body).digest()


@pytest.mark.parametrize("excess, opened", [(-1, 0), (0, 0), (1, 1)])
def test_bodies_above_128_kib_go_to_the_spool_as_they_arrive(excess: int, opened: int):
    body = b"x" * (128 * 1024 + excess)

    message, stored, spool = receive([body[:5], body[5:]])

    assert spool.opened == opened
    assert stored == body
    assert (message.data is None) == bool(opened)


def test_a_large_body_loses_its_return_path_and_keeps_its_header():
    body = b"Return-Path: <x>\r\nReceived: a\r\nReceived: b\r\n\r\n" + b"y\r\n" * 100_000

    message, stored, _ = receive([body[i : i + 1000] for i in range(0, len(body), 1000)])

    assert stored == b"Received: a\nReceived: b\n\n" + b"y\n" * 100_000
    assert message.header == b"Received: a\nReceived: b\n"
    assert message.hops == 2
    assert (message.octets, message.wire_octets) == (len(stored), wire_size(stored))


@pytest.mark.parametrize("tail", [b"\r", b"\r\r", b"\r\r\n", b"\n", b"\r\n\r"])
def test_a_cr_at_the_edge_of_a_portion_waits_for_what_follows(tail: bytes):
    body = b"x" * (128 * 1024 + 1) + tail
    chunks = [body[: -len(tail)], *(tail[i : i + 1] for i in range(len(tail)))]

    message, stored, _ = receive(chunks)

    assert stored == body.replace(b"\r\n", b"\n")
    assert (message.octets, message.wire_octets) == (len(stored), wire_size(stored))


pieces = st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"a", b"\0", b"\xff", b".", b"A: b"]), max_size=30)


@given(pieces, st.sets(st.integers(1, 60)), st.booleans())
def test_chunks_and_spooling_change_nothing(parts: list[bytes], cuts: set[int], binary: bool):
    body = b"".join(parts)
    edges = [0, *sorted(cut for cut in cuts if cut < len(body)), len(body)]
    chunks = [body[a:b] for a, b in itertools.pairwise(edges)]
    whole, stored, _ = receive([body], binary=binary)

    memory = module.MEMORY_OCTETS
    try:
        module.MEMORY_OCTETS = 4
        cut, spooled, _ = receive(chunks, binary=binary)
    finally:
        module.MEMORY_OCTETS = memory

    assert spooled == stored == (body if binary else body.replace(b"\r\n", b"\n"))
    assert (cut.octets, cut.wire_octets, cut.digest) == (whole.octets, whole.wire_octets, whole.digest)
    assert whole.wire_octets == wire_size(stored)
