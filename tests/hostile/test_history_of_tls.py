"""Holes of other servers in what lies below TLS. In comments: their CVEs."""

import os
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from tests.bench.measuring import memory
from tests.support.lmtp_client import LmtpClient, stuffed
from tests.support.maildirs import leftovers
from tests.support.polling import wait_for
from tests.support.server import Server

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.serial]

AUTHORITY = trustme.CA()
BODY = b"Subject: x\r\n\r\nx\r\n"


@pytest.fixture(scope="module")
def context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    AUTHORITY.configure_trust(context)
    context.check_hostname = False
    return context


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("tls")
    certificate = AUTHORITY.issue_cert("localhost").private_key_and_cert_chain_pem
    certificate.write_to_path(str(folder / "tls.pem"))
    flags = ["--workers", "1"]
    for key in ("tls.cert", "tls.key"):
        flags += ["--set", f"{key}={folder / 'tls.pem'}"]
    with Server(folder, listen=["tcp"], flags=flags) as server:
        yield server


def _secured(server: Server, context: ssl.SSLContext, name: str = "localhost") -> LmtpClient:
    client = server.client()
    client.starttls(context, server_name=name)
    client.lhlo()
    return client


def _serial(client: LmtpClient) -> object:
    assert isinstance(client.socket, ssl.SSLSocket)
    certificate = client.socket.getpeercert()
    assert certificate is not None
    return certificate["serialNumber"]


# CVE-2017-15130: each server name that a client asked for took memory for good
def test_names_that_a_client_asks_for_take_no_memory(server: Server, context: ssl.SSLContext):
    def ask(number: int) -> object:
        with _secured(server, context, f"{'x' * 60}.{number:0>60}.{'y' * 60}.example") as client:
            serial = _serial(client)
            client.quit()
            return serial

    serials = {ask(number) for number in range(50)}  # what is loaded at first use is loaded now
    before = memory(server.pid)

    serials |= {ask(number) for number in range(50, 400)}

    assert len(serials) == 1, "one certificate, whatever name is asked for"
    assert memory(server.pid).together - before.together < 4  # MB; 10 KB each would be that


def _open_files(server: Server) -> int:
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text(encoding="ascii").split()
    return sum(len(os.listdir(f"/proc/{child}/fd")) for child in children)


# Dovecot: a worker was lost with each TLS client that vanished amid a delivery
@pytest.mark.parametrize("behind_the_dot", [False, True])
def test_tls_clients_that_vanish_leave_nothing_behind(
    server: Server, context: ssl.SSLContext, behind_the_dot: bool
):
    def vanish() -> None:
        client = _secured(server, context)
        assert client.envelope("s@example.org", ["a@example.org"])[0].code == 250
        assert client.command("DATA").code == 354
        client.send(stuffed(b"x" * 200_000 + b"\r\n") + b".\r\n" * behind_the_dot)
        client.reset()

    vanish()
    wait_for(lambda: not leftovers(server.maildir("a@example.org")), "an empty tmp/")
    before = _open_files(server)

    for _ in range(30):
        vanish()

    wait_for(lambda: _open_files(server) <= before + 4, "the end of all connections")
    wait_for(lambda: not leftovers(server.maildir("a@example.org")), "an empty tmp/")
    with _secured(server, context) as client:
        assert client.deliver("s@example.org", ["a@example.org"], BODY)[0].code == 250


# Amid the handshake, too
@pytest.mark.parametrize("piece", [b"", b"\x16\x03\x01", b"\x16\x03\x01\xff\xff" + b"x" * 1000, b"NOOP\r\n"])
def test_clients_that_vanish_in_the_handshake_leave_nothing_behind(server: Server, piece: bytes):
    before = _open_files(server)

    for _ in range(30):
        client = server.client()
        assert client.command("STARTTLS").code == 220
        client.send(piece)
        client.reset()

    wait_for(lambda: _open_files(server) <= before + 4, "the end of all connections")
    with server.client() as client:
        assert client.command("NOOP").code == 250
