"""The socket seam, with real sockets: what a server sees of its peer on TCP and unix sockets."""

import fcntl
import socket
from collections.abc import Callable

import pytest

from lmtpd.server import stream as stream_module
from lmtpd.server.stream import PeerDeaf, PeerLost, PeerSilent, Sight, Stream
from tests.support.sockets import TRANSPORTS, reset, streaming

QUIET = Sight(readable=False, ended=False, gone=False)
SPOKE = Sight(readable=True, ended=False, gone=False)
ENDED = Sight(readable=True, ended=True, gone=False)
GONE = Sight(readable=True, ended=True, gone=True)


def say_quit_and(leave: Callable[[socket.socket], None]) -> Callable[[socket.socket], None]:
    def act(client: socket.socket) -> None:
        client.sendall(b"QUIT\r\n")
        leave(client)

    return act


def half_close(client: socket.socket) -> None:
    client.shutdown(socket.SHUT_WR)


# What the peer did; what is seen on TCP; on a unix socket (reference: what a server can see at the barrier).
BARRIER = {
    "nothing": (socket.socket.fileno, QUIET, QUIET),
    "sent RSET": (lambda client: client.sendall(b"RSET\r\n"), SPOKE, SPOKE),
    "closed": (socket.socket.close, GONE, GONE),
    "shut down its sending side": (half_close, GONE, ENDED),
    "sent QUIT and closed": (say_quit_and(socket.socket.close), GONE, GONE),
    "sent QUIT and shut down": (say_quit_and(half_close), GONE, ENDED),
    "was killed": (reset, GONE, GONE),
}


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("act, on_tcp, on_unix", BARRIER.values(), ids=BARRIER)
def test_look_sees_what_the_peer_did(transport, act, on_tcp, on_unix):
    with streaming(transport) as (stream, client, _):
        act(client)

        sight = stream.look()

        assert sight == (on_tcp if transport == "tcp" else on_unix)
        assert stream.ended == sight.ended


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_look_sees_a_peer_that_closed_without_reading(transport):
    with streaming(transport) as (stream, client, _):
        stream.send(b"250 2.0.0 OK\r\n")
        client.close()

        assert stream.look() == GONE


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_the_end_of_a_stream_means_that_nobody_reads_on_tcp_only(transport):
    with streaming(transport) as (stream, client, _):
        half_close(client)
        stream.look()

        assert stream.is_gone_for_good == (transport == "tcp")


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_receive_returns_bytes_and_then_the_end(transport):
    with streaming(transport) as (stream, client, _):
        client.sendall(b"NOOP\r\n")
        half_close(client)

        assert stream.receive(100) == b"NOOP\r\n"
        assert not stream.ended
        assert stream.receive(100) == b""
        assert stream.ended


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_receive_tells_a_reset_from_an_end(transport):
    with streaming(transport) as (stream, client, _):
        stream.send(b"250 2.0.0 OK\r\n")
        client.close()

        with pytest.raises(PeerLost):
            stream.receive(100)
        assert stream.ended


@pytest.mark.parametrize("quick_s", [0.01, 0.5])
def test_receive_gives_up_on_a_silent_peer(quick_s, monkeypatch):
    monkeypatch.setattr(stream_module, "QUICK_S", quick_s)
    with streaming("unix", idle_s=0.05) as (stream, _, _), pytest.raises(PeerSilent):
        stream.receive(100)


def test_receive_finds_what_comes_late(monkeypatch):
    monkeypatch.setattr(stream_module, "QUICK_S", 0.01)
    with streaming("unix") as (stream, client, _):
        wait = Stream._wait_for_input

        def speak_and_wait(stream: Stream, deadline: float) -> bool:
            client.sendall(b"late")
            return wait(stream, deadline)

        monkeypatch.setattr(Stream, "_wait_for_input", speak_and_wait)

        assert stream.receive(100) == b"late"


def test_a_drain_wakes_who_waits(monkeypatch):
    monkeypatch.setattr(stream_module, "QUICK_S", 0.01)
    with streaming("unix", idle_s=60) as (stream, _, drain):
        wait = Stream._wait_for_input

        def begin_and_wait(stream: Stream, deadline: float) -> bool:
            drain.begin(5)
            drain.begun = False  # it begins just behind the look at the flag
            return wait(stream, deadline)

        monkeypatch.setattr(Stream, "_wait_for_input", begin_and_wait)

        assert stream.receive(100) is None


def test_in_a_drain_silence_is_short(monkeypatch):
    monkeypatch.setattr(stream_module, "QUICK_S", 0.01)
    with streaming("unix", idle_s=60) as (stream, client, drain):
        drain.begin(60)

        assert stream.receive(100) is None
        assert stream.receive(100) is None
        client.sendall(b"NOOP\r\n")
        assert stream.receive(100) == b"NOOP\r\n"


def test_input_counts_more_than_the_drain(monkeypatch):
    monkeypatch.setattr(stream_module, "QUICK_S", 0.01)
    with streaming("unix") as (stream, client, drain):
        client.sendall(b"NOOP\r\n")
        drain.begin(5)

        assert stream.receive(100) == b"NOOP\r\n"


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_receive_arrived_never_waits(transport):
    with streaming(transport) as (stream, client, _):
        assert stream.receive_arrived(100) == b""
        assert not stream.ended
        client.sendall(b"RSET\r\n")
        assert stream.receive_arrived(3) == b"RSE"
        assert stream.receive_arrived(100) == b"T\r\n"
        half_close(client)
        assert stream.receive_arrived(100) == b""
        assert stream.ended


def test_receive_arrived_takes_a_reset_for_the_end():
    with streaming("tcp") as (stream, client, _):
        reset(client)

        assert stream.receive_arrived(100) == b""
        assert stream.ended


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_peer_that_never_reads_is_cut(transport):
    with streaming(transport, idle_s=0.05) as (stream, client, _), pytest.raises(PeerDeaf):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stream.send(b"x" * 16_000_000)


def test_sending_to_nobody_is_a_loss():
    with streaming("unix") as (stream, client, _):
        client.close()

        with pytest.raises(PeerLost):
            stream.send(b"250 2.0.0 OK\r\n")


# -- the last words


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_an_orderly_end_proves_that_all_was_received(transport):
    with streaming(transport) as (stream, client, _):
        stream.send(b"221 2.0.0 Bye\r\n")
        client.recv(100)
        client.close()

        assert stream.end_orderly(5)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_input_behind_the_last_words_is_thrown_away(transport):
    with streaming(transport) as (stream, client, _):
        stream.send(b"221 2.0.0 Bye\r\n")
        client.recv(100)
        client.sendall(b"x" * 100_000)
        half_close(client)

        assert stream.end_orderly(5)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_close_with_unread_replies_proves_nothing(transport):
    with streaming(transport) as (stream, client, _):
        stream.send(b"221 2.0.0 Bye\r\n")
        client.close()

        assert not stream.end_orderly(5)


def test_a_peer_that_does_not_end_proves_nothing():
    with streaming("tcp") as (stream, _, _):
        assert not stream.end_orderly(0.02)


def test_an_end_that_was_sent_before_our_last_bytes_arrived_proves_nothing(monkeypatch):
    with streaming("tcp") as (stream, client, _):
        half_close(client)
        # Loopback has no bytes under way; a network would count those of the replies, and our end as one.
        monkeypatch.setattr(fcntl, "ioctl", lambda *_: (36).to_bytes(4, "little"))

        assert not stream.end_orderly(5)
