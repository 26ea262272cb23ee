"""TCP listeners."""

import os
import socket

import pytest

from tests.support.listening import failure, tcp


@pytest.mark.parametrize("address", ["127.0.0.1:0", "[::1]:0", "localhost:0"])
def test_a_tcp_listener_can_be_connected_to(opened, address):
    listeners = opened(tcp(address))

    for listening in listeners:
        with socket.create_connection(listening.sock.getsockname()[:2]) as client:
            client.settimeout(5)
            accepted, _ = listening.sock.accept()
            with accepted:
                assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert not listening.is_unix


def test_all_ipv4_and_all_ipv6_addresses_can_share_a_port(opened):
    (all_ipv4,) = opened(tcp("0.0.0.0:0"))
    port = all_ipv4.sock.getsockname()[1]

    (all_ipv6,) = opened(tcp(f"[::]:{port}"))

    assert all_ipv6.sock.getsockname()[1] == port


def test_a_port_can_be_taken_again_at_once(opened):
    (first,) = opened(tcp("127.0.0.1:0"))
    host, port = first.sock.getsockname()
    with socket.create_connection((host, port)):
        accepted, _ = first.sock.accept()
        accepted.close()  # our side closes first: TIME_WAIT
        first.close()

        opened(tcp(f"{host}:{port}"))


def test_a_taken_port_is_said_so(opened):
    (first,) = opened(tcp("127.0.0.1:0"))

    error = failure(tcp(f"127.0.0.1:{first.sock.getsockname()[1]}"))

    assert "another process listens there" in str(error)
    assert error.code == os.EX_CANTCREAT


def test_an_address_of_another_machine_is_said_so():
    assert "does not have that address" in str(failure(tcp("192.0.2.1:0")))


def test_a_host_that_cannot_be_resolved_is_said_so(monkeypatch):
    def fail(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)

    assert failure(tcp("nowhere.invalid:24")).code == os.EX_NOHOST


@pytest.mark.parametrize("number, code", [(13, os.EX_NOPERM), (105, os.EX_OSERR)])
def test_other_failures_have_their_codes(monkeypatch, number, code):
    def refuse(self, address):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(socket.socket, "bind", refuse)

    assert failure(tcp("127.0.0.1:24")).code == code
