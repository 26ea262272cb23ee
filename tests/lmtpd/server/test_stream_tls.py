"""The socket seam under TLS, where no peek is possible and one recv() is one record."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from lmtpd.server import stream as stream_module
from lmtpd.server.stream import PeerDeaf, PeerLost, PeerSilent, Sight, Stream
from tests.support.sockets import streaming, tls_client, tls_contexts

QUIET = Sight(readable=False, ended=False, gone=False)


@contextmanager
def secured() -> Iterator[tuple[Stream, ssl.SSLSocket]]:
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


def test_a_client_that_waits_for_our_end_gets_it(monkeypatch):
    monkeypatch.setattr(stream_module, "CLOSE_NOTIFY_S", 0.05)
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


def test_a_client_that_closes_first_is_not_answered_with_what_it_will_not_read():
    with secured() as (stream, client):
        stream.send(b"221 2.0.0 Bye\r\n")
        assert client.recv(100) == b"221 2.0.0 Bye\r\n"
        client.close()

        assert stream.end_orderly(5)


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
