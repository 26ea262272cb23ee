"""A server is replaced by the next one under load: no client is refused, no mail lost."""

import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

import pytest

from tests.support import maildirs
from tests.support.activation import HeldSockets
from tests.support.lmtp_client import LmtpClient, ProtocolError, stuffed
from tests.support.polling import wait_for
from tests.support.server import Server

pytestmark = [pytest.mark.system, pytest.mark.slow]

CLIENTS_EACH = 2  # of each socket
RESTARTS = 3
BETWEEN = 5  # messages of each client
SENDER = "sender@example.org"


class Client(threading.Thread):
    """Sends one message after the other, a connection each, and each again until it is taken."""

    def __init__(self, address: str, recipient: str) -> None:
        super().__init__(name=recipient)
        self.recipient = recipient
        self.accepted = 0
        self.endings: Counter[str] = Counter()  # of connections
        self.end = threading.Event()
        self._address = address

    def run(self) -> None:
        while not self.end.is_set():
            ending = self._attempt(b"Subject: %d\r\n\r\nhi\r\n" % self.accepted)
            self.endings[ending] += 1
            self.accepted += ending == "250"
            if ending not in ("250", "421"):
                return

    def _attempt(self, body: bytes) -> str:
        try:
            client = LmtpClient.connect(self._address)
        except OSError as exc:
            return f"refused: {exc}"
        with client:
            try:
                return self._talk(client, body)
            except (OSError, ProtocolError) as exc:
                # What was sent too late may be answered by a broken pipe: the reply lies there to be read.
                with suppress(OSError):
                    if client.rest().startswith(b"421 "):
                        return "421"
                return f"cut: {exc}"

    def _talk(self, client: LmtpClient, body: bytes) -> str:
        if client.reply().code == 421:
            return "421"
        envelope = (f"MAIL FROM:<{SENDER}>", f"RCPT TO:<{self.recipient}>", "DATA")
        for line in ("LHLO client.example.org", *envelope):
            reply = client.command(line)
            if reply.code not in (250, 354):
                return str(reply.code)
        client.send(stuffed(body) + b".\r\n")
        code = str(client.reply().code)
        # A server that drains says 421 behind it, which answers the QUIT.
        with suppress(OSError, ProtocolError):
            client.command("QUIT")
        return code


@pytest.fixture
def held(tmp_path) -> Iterator[tuple[HeldSockets, list[str]]]:
    with ExitStack() as stack:
        unix = stack.enter_context(socket.socket(socket.AF_UNIX))
        unix.bind(str(tmp_path / "lmtpd.sock"))
        tcp = stack.enter_context(socket.socket(socket.AF_INET))
        tcp.bind(("127.0.0.1", 0))
        for each in (unix, tcp):
            each.listen()
        sockets = HeldSockets([unix, tcp])
        stack.callback(sockets.close)
        yield sockets, [f"unix:{tmp_path}/lmtpd.sock", f"tcp:127.0.0.1:{tcp.getsockname()[1]}"]


def subjects(maildir: Path) -> list[str]:
    lines = (line for each in maildirs.files(maildir) for line in each.read_text().splitlines())
    return sorted(line for line in lines if line.startswith("Subject: "))


def reached(goal: dict[Client, int]) -> bool:
    return all(client.accepted >= least or not client.is_alive() for client, least in goal.items())


def test_no_client_is_refused_while_the_server_is_replaced(tmp_path, held):
    sockets, addresses = held
    clients = [
        Client(address, f"{kind}{number}@example.org")
        for kind, address in zip(("unix", "tcp"), addresses, strict=True)
        for number in range(CLIENTS_EACH)
    ]
    with (
        Server(tmp_path, listen=addresses, wrapper=sockets.wrapper, pass_fds=sockets.fds) as server,
        ExitStack() as stack,
    ):
        for client in clients:
            client.start()
            stack.callback(client.join)
            stack.callback(client.end.set)
        for _ in range(RESTARTS):
            goal = {client: client.accepted + BETWEEN for client in clients}
            wait_for(partial(reached, goal), "messages between two restarts", deadline_s=60)
            server.restart()

    for client in clients:
        assert set(client.endings) <= {"250", "421"}, client.endings
        assert client.accepted >= RESTARTS * BETWEEN
        wanted = sorted(f"Subject: {number}" for number in range(client.accepted))
        found = subjects(server.maildir(client.recipient))
        assert found == wanted


def test_a_client_that_comes_between_two_servers_is_served_by_the_next(tmp_path, held):
    sockets, addresses = held
    with Server(tmp_path, listen=addresses, wrapper=sockets.wrapper, pass_fds=sockets.fds) as server:
        assert server.stop() == 0
        with ExitStack() as stack:
            waiting = [stack.enter_context(LmtpClient.connect(address)) for address in addresses]
            assert [client.surplus() for client in waiting] == [b"", b""]

            server.start()

            for number, client in enumerate(waiting):
                (reply,) = client.greet().deliver(SENDER, [f"user{number}@example.org"], b"x\r\n")
                assert reply.code == 250
                client.quit()
