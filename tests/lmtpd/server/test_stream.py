"""The socket seam, with real sockets: what a server sees of its peer on TCP, unix sockets and under TLS."""

import fcntl
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from lmtpd.server import stream as stream_module
from lmtpd.server.drain import Drain
from lmtpd.server.stream import PeerDeaf, PeerLost, PeerSilent, Sight, Stream
from tests.support.sockets import TRANSPORTS, connected_pair, reset, tls_client, tls_contexts

QUIET = Sight(readable=False, ended=False, gone=False)
SPOKE = Sight(readable=True, ended=False, gone=False)
ENDED = Sight(readable=True, ended=True, gone=False)
GONE = Sight(readable=True, ended=True, gone=True)


@contextmanager
def streaming(transport: str, *, idle_s: float = 5.0) -> Iterator[tuple[Stream, socket.socket, Drain]]:
    server, client = connected_pair(transport)
    drain = Drain()
    stream = Stream(server, drain=drain, idle_s=idle_s)
    try:
        yield stream, client, drain
    finally:
        stream.close()
        client.close()
        drain.close()


def say_quit_and(leave: Callable[[socket.socket], None]) -> Callable[[socket.socket], None]:
    def act(client: socket.socket) -> None:
        client.sendall(b"QUIT\r\n")
        leave(client)

    return act


def half_close(client: socket.socket) -> None:
    client.shutdown(socket.SHUT_WR)


# What the peer did; what is seen on TCP; on a unix socket (reference: what a server can see at the barrier).
BARRIER = {
    "nothing": (lambda client: None, QUIET, QUIET),
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
    with streaming("unix") as (stream, _, drain):
        drain.begin(5)
        drain.begun = False  # as if it began just behind our look at the flag

        assert stream.receive(100) is None


def test_input_counts_more_than_the_drain(monkeypatch):
    monkeypatch.setattr(stream_module, "QUICK_S", 0.01)
    with streaming("unix") as (stream, client, drain):
        client.sendall(b"NOOP\r\n")
        drain.begin(5)

        assert stream.receive(100) == b"NOOP\r\n"


def test_a_drain_that_has_begun_bounds_the_wait(monkeypatch):
    monkeypatch.setattr(stream_module, "QUICK_S", 0.01)
    with streaming("unix", idle_s=60) as (stream, _, drain):
        drain.begin(0.05)

        with pytest.raises(PeerSilent):
            stream.receive(100)


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


# -- TLS


@contextmanager
def secured() -> Iterator[tuple[Stream, socket.socket]]:
    with streaming("tcp", idle_s=1.0) as (stream, client, _):
        wrapped = tls_client(client, lambda: stream.start_tls(tls_contexts()[0]))
        try:
            yield stream, wrapped
        finally:
            wrapped.close()


def test_tls_carries_bytes_both_ways():
    with secured() as (stream, client):
        client.sendall(b"LHLO there\r\n")
        assert stream.receive(100) == b"LHLO there\r\n"
        stream.send(b"250 here\r\n" * 10_000)
        answer = b""
        while len(answer) < 100_000:
            answer += client.recv(65536)
        assert answer == b"250 here\r\n" * 10_000


def test_bytes_that_were_decrypted_already_are_seen():
    with secured() as (stream, client):
        client.sendall(b"RSET\r\nQUIT\r\n")
        assert stream.receive(6) == b"RSET\r\n"

        assert stream.look().readable


def test_nothing_to_read_is_no_end_under_tls():
    with secured() as (stream, _):
        assert stream.receive_arrived(100) == b""
        assert not stream.ended
        assert stream.look() == QUIET


def test_all_records_that_arrived_are_read():
    with secured() as (stream, client):
        for _ in range(5):
            client.sendall(b"NOOP\r\n")

        assert stream.receive_arrived(1000) == b"NOOP\r\n" * 5
        assert stream.receive_arrived(1000) == b""


def test_close_notify_is_an_end_even_behind_a_command():
    with secured() as (stream, client):
        client.sendall(b"QUIT\r\n")
        client.settimeout(0)
        with pytest.raises(OSError):
            client.unwrap()  # sends its close_notify, and would wait for ours

        assert stream.receive_arrived(1000) == b"QUIT\r\n"
        assert stream.is_gone_for_good


def test_the_end_of_the_connection_below_is_an_end_of_tls_too():
    with secured() as (stream, client):
        socket.socket.shutdown(client, socket.SHUT_WR)

        assert stream.look().gone
        assert stream.receive(100) == b""
        assert stream.ended


def test_an_orderly_end_of_tls():
    with secured() as (stream, client):
        stream.send(b"221 2.0.0 Bye\r\n")
        assert client.recv(100) == b"221 2.0.0 Bye\r\n"
        outcome = []
        thread = threading.Thread(target=lambda: outcome.append(stream.end_orderly(5)))
        thread.start()

        assert client.recv(100) == b""  # close_notify, not a ragged end
        client.close()
        thread.join()

        assert outcome == [True]


def test_a_silent_peer_under_tls_is_given_up():
    with secured() as (stream, _):
        stream._idle_s = 0.05

        with pytest.raises(PeerSilent):
            stream.receive(100)


def test_a_peer_that_never_reads_is_cut_under_tls():
    with secured() as (stream, _), pytest.raises(PeerDeaf):
        stream._idle_s = 0.05
        stream.send(b"x" * 16_000_000)


def test_what_is_not_tls_is_a_loss():
    with streaming("tcp") as (stream, client, _):
        client.sendall(b"MAIL FROM:<>\r\n")

        with pytest.raises(PeerLost):
            stream.start_tls(tls_contexts()[0])


def test_a_handshake_has_a_deadline(monkeypatch):
    monkeypatch.setattr(stream_module, "HANDSHAKE_S", 0.05)
    with streaming("tcp") as (stream, _, _), pytest.raises(PeerLost):
        stream.start_tls(tls_contexts()[0])
