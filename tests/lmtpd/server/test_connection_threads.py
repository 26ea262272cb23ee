"""Which connections leave the thread that all of them share: those that may wait."""

import socket
from contextlib import suppress

import pytest

from lmtpd.delivery.service import Commit
from lmtpd.server.stream import PeerLost
from lmtpd.server.talk import OwnThread
from tests.support.driving import Driven


def test_under_hold_a_connection_has_a_thread_of_its_own_from_the_beginning():
    """Its deliveries, its handshakes and its TLS are not for the lobby, where all others wait."""
    driven = Driven(commit=Commit.HOLD)

    assert isinstance(next(driven.connection.talk()), OwnThread)

    driven.client.close()
    driven.server.close()
    driven.drain.close()


def test_a_client_that_does_not_read_keeps_only_its_own_thread():
    """Where many wait in one thread, its replies would keep that from everybody."""
    driven = Driven()
    with suppress(BlockingIOError):
        while True:
            driven.server.send(b"x" * 4096, socket.MSG_DONTWAIT)

    assert isinstance(next(driven.connection.talk()), OwnThread)

    driven.client.close()
    driven.server.close()
    driven.drain.close()


def test_what_a_client_cannot_take_at_once_it_gets_in_full():
    driven = Driven()
    taken = driven.server.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) * 4
    stream = driven.connection._stream

    rest = stream.send_at_once(b"y" * taken)

    assert 0 < len(rest) < taken
    assert len(driven.client.socket.recv(taken, socket.MSG_DONTWAIT)) > 0
    driven.client.close()
    with pytest.raises(PeerLost):
        stream.send_at_once(b"y")
    driven.server.close()
    driven.drain.close()
