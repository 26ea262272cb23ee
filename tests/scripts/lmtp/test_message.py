"""A message for the wire."""

from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmtpd.protocol.wire import BodyReader, Input
from scripts.lmtp import message as module
from scripts.lmtp.message import WireMessage
from tests.support.lmtp_client import stuffed


def data(content: bytes) -> bytes:
    with WireMessage(BytesIO(content)) as message:
        return b"".join(message.data())


@pytest.mark.parametrize(
    "content, wire",
    [
        (b"", b"\r\n.\r\n"),
        (b"a", b"a\r\n.\r\n"),
        (b"a\n", b"a\r\n.\r\n"),
        (b"a\r\n", b"a\r\n.\r\n"),
        (b".\n", b"..\r\n.\r\n"),
        (b"a\n.b\n..\n", b"a\r\n..b\r\n...\r\n.\r\n"),
        (b"a\r.b\n", b"a\r.b\r\n.\r\n"),
        (b"a\r", b"a\r\r\n.\r\n"),
        (b"From x\nSubject: y\n", b"Subject: y\r\n.\r\n"),
    ],
)
def test_lines_dots_and_end(content, wire):
    assert data(content) == wire


@given(content=st.lists(st.sampled_from([b"\r\n", b"\n", b"\r", b".", b"a"])).map(b"".join))
def test_a_server_reads_back_what_was_in_the_file(content):
    source, reader, body, ended = Input(1), BodyReader(), b"", False
    source.add(data(content))

    while not ended:
        piece, ended = reader.read(source)
        body += piece

    plain = content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    assert not source
    assert body == plain + (b"" if plain.endswith(b"\r\n") else b"\r\n")


@pytest.mark.parametrize("octets", [1, 2, 3, 5])
def test_chunks_do_not_matter(monkeypatch, octets):
    content = b"\n.a\r\n\r\n..\n.\n\r.\r\r\n.b"
    whole = data(content)

    monkeypatch.setattr(module, "CHUNK_OCTETS", octets)

    assert data(content) == whole
    assert whole == stuffed(content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n") + b"\r\n") + b".\r\n"


@pytest.mark.parametrize(
    "content, is_8bit, has_utf8_header",
    [
        (b"Subject: a\n\nb\n", False, False),
        (b"Subject: a\n\n\xc3\xa4\n", True, False),
        (b"Subject: \xc3\xa4\n\nb\n", True, True),
        (b"Subject: \xe4\n\nb\n", True, False),
    ],
)
def test_what_the_envelope_must_say(content, is_8bit, has_utf8_header):
    with WireMessage(BytesIO(content)) as message:
        assert (message.is_8bit, message.has_utf8_header) == (is_8bit, has_utf8_header)
        assert message.octets == len(content) + content.count(b"\n")
