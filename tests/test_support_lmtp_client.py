"""The test client must notice what a sloppy server does, else the tests that use it prove nothing."""

import socket
from collections.abc import Iterator

import pytest

from tests.support.lmtp_client import ConnectionEnded, LmtpClient, ProtocolError, stuffed


@pytest.fixture
def ends() -> Iterator[tuple[LmtpClient, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield LmtpClient(ours, timeout_s=5), theirs


def test_reply_of_several_lines_is_one_reply(ends):
    client, server = ends
    server.sendall(b"250-mx.example.org\r\n250-PIPELINING\r\n250 SIZE 10\r\n250 2.0.0 Ok\r\n")

    first, second = client.replies(2)

    assert first.lines == ("mx.example.org", "PIPELINING", "SIZE 10")
    assert (second.code, second.status, second.text) == (250, "2.0.0", "2.0.0 Ok")


def test_reply_may_come_in_any_pieces(ends):
    client, server = ends
    for octet in b"250 2.1.5 Ok\r":
        server.sendall(bytes([octet]))
    server.sendall(b"\n")

    assert client.reply().status == "2.1.5"


@pytest.mark.parametrize(
    "data",
    [
        b"ok\r\n",
        b"25 Ok\r\n",
        b"250\r\n",
        b"150 Ok\r\n",
        b"250 a\nb\r\n",
        b"250 a\rb\r\n",
        b"250-a\r\n251 b\r\n",
        b"250 5.1.1 Ok\r\n",
        b"450 2.0.0 no\r\n",
        b"250 " + b"x" * 507 + b"\r\n",
    ],
)
def test_malformed_reply_is_an_error(ends, data):
    client, server = ends
    server.sendall(data)

    with pytest.raises(ProtocolError):
        client.reply()


def test_longest_line_is_fine(ends):
    client, server = ends
    server.sendall(b"250 " + b"x" * 506 + b"\r\n")

    assert len(client.reply().text) == 506


def test_end_of_stream_in_a_reply_is_an_error(ends):
    client, server = ends
    server.sendall(b"250-a\r\n25")
    server.close()

    with pytest.raises(ConnectionEnded):
        client.reply()


def test_surplus_reply_is_found(ends):
    client, server = ends
    server.sendall(b"250 2.0.0 Ok\r\n250 2.0.0 once more\r\n")

    client.reply()

    assert client.surplus() == b"250 2.0.0 once more\r\n"


def test_quiet_connection_has_no_surplus(ends):
    client, _ = ends

    assert client.surplus(wait_s=0.01) == b""


def test_deliver_returns_refusals_and_final_replies_in_the_order_of_the_recipients(ends):
    client, server = ends
    server.sendall(
        b"250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n550 5.1.1 No\r\n250 2.1.5 Ok\r\n354 Go\r\n"
        b"250 2.0.0 first\r\n451 4.3.0 third\r\n"
    )

    replies = client.deliver("s@a.org", ["1@a.org", "2@a.org", "3@a.org"], b".\r\nx\r\n")

    assert [reply.text for reply in replies] == ["2.0.0 first", "5.1.1 No", "4.3.0 third"]
    sent = server.recv(65536)
    assert sent == (
        b"MAIL FROM:<s@a.org>\r\nRCPT TO:<1@a.org>\r\nRCPT TO:<2@a.org>\r\nRCPT TO:<3@a.org>\r\n"
        b"DATA\r\n..\r\nx\r\n.\r\n"
    )


def test_deliver_by_bdat_says_the_size_of_each_chunk(ends):
    client, server = ends
    server.sendall(b"250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n250 2.0.0 4 octets\r\n250 2.0.0 Saved\r\n")

    client.deliver("", ["a@a.org"], b"abcdef", chunk_octets=4)

    assert server.recv(65536).endswith(b"BDAT 4\r\nabcdBDAT 2 LAST\r\nef")


@pytest.mark.parametrize(
    "body, sent",
    [(b"", b""), (b".", b".."), (b"a\r\n.b\r\n..", b"a\r\n..b\r\n..."), (b"a\n.b", b"a\n.b")],
)
def test_stuffing(body, sent):
    assert stuffed(body) == sent
