"""Late aborts against the real server, on both transports, under every commit policy.

The table is that of docs/behind-the-dot.md; numbers: the corner cases of lmtp.md, section 11. Where a test
needs to be between the dot and the barrier, it stops the server's processes, acts, and lets them go on: what
it did has then happened before the barrier, whatever the machine's load.
"""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest

from tests.support import maildirs
from tests.support.lmtp_client import LmtpClient
from tests.support.polling import wait_for
from tests.support.server import Server

pytestmark = pytest.mark.system

POLICIES = ["immediate", "checked", "cancel", "hold"]
TRANSPORTS = {"unix": 0, "tcp": 1}
TEXT = b"Subject: late\r\n\r\nhello\r\n"
DOT = b".\r\n"
NEXT_MAIL = b"MAIL FROM:<me@example.org>\r\nRCPT TO:<%s>\r\nDATA\r\nSubject: next\r\n\r\nhi\r\n.\r\n"

_serial = count(1)


class Place:
    """One transport of a server with one policy, and recipients that nobody else writes to."""

    def __init__(self, server: Server, commit: str, transport: str) -> None:
        self.server = server
        self.commit = commit
        self.transport = transport
        self.users = [f"u{next(_serial)}@example.org" for _ in range(3)]

    def client(self) -> LmtpClient:
        return self.server.client(TRANSPORTS[self.transport])

    def in_data(self) -> LmtpClient:
        """Connect and say everything up to the dot."""
        client = self.client()
        client.envelope("me@example.org", self.users)
        assert client.command("DATA").code == 354
        client.send(TEXT)
        return client

    def stored(self) -> int:
        """How many messages each of the recipients has; they never differ."""
        (number,) = {len(maildirs.messages(self.server.maildir(user))) for user in self.users}
        return number

    def has_settled(self) -> bool:
        """Whether each recipient of ours was reported, and nothing of theirs is left in tmp/."""
        log = self.server.log
        return all(f"<{user}>" in log for user in self.users) and not any(
            maildirs.leftovers(self.server.maildir(user)) for user in self.users
        )

    def settle(self) -> int:
        """Wait until the server has forgotten the client that has left, and count."""
        wait_for(self.has_settled, "the end of the transaction")
        return self.stored()

    def retry(self) -> list[int]:
        """Send the same message again, in the way that publishes it under every policy."""
        with self.client() as client:
            codes = [reply.code for reply in client.deliver("me@example.org", self.users, TEXT)]
            client.quit()
        return codes


@contextmanager
def stopped(server: Server) -> Iterator[None]:
    """Hold the server's processes; what is done meanwhile comes before anything that they do next."""
    os.killpg(server.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.killpg(server.pid, signal.SIGCONT)


@pytest.fixture(scope="module", params=POLICIES)
def policy(request, tmp_path_factory) -> Iterator[tuple[Server, str]]:
    folder: Path = tmp_path_factory.mktemp(request.param)
    flags = ["--set", f"delivery.commit={request.param}"]
    with Server(folder, listen=["unix", "tcp"], flags=flags) as server:
        yield server, request.param


@pytest.fixture(params=TRANSPORTS)
def place(policy, request) -> Place:
    server, commit = policy
    return Place(server, commit, request.param)


def codes(client: LmtpClient, number: int) -> list[int]:
    return [reply.code for reply in client.replies(number)]


# ---- the client goes on talking


def test_27_rset_in_one_segment_with_the_dot(place: Place):
    with place.in_data() as client:
        with stopped(place.server):
            client.send(DOT + b"RSET\r\n")

        found = client.replies(4)

        assert [reply.code for reply in found] == ([451] * 3 if place.commit == "cancel" else [250] * 3) + [
            250
        ]
        assert place.commit != "cancel" or {reply.status for reply in found[:3]} == {"4.5.0"}
        assert client.command("NOOP").code == 250
    assert place.settle() == (0 if place.commit in ("cancel", "hold") else 1)


def test_28_rset_and_another_message_in_one_segment_with_the_dot(place: Place):
    with place.in_data() as client:
        client.send(DOT + b"RSET\r\n" + NEXT_MAIL % place.users[0].encode())

        assert codes(client, 8) == [250, 250, 250, 250, 250, 250, 354, 250]
        client.quit()
    found = [maildirs.messages(place.server.maildir(user)) for user in place.users]
    first = 0 if place.commit == "hold" else 1
    assert [len(each) for each in found] == [first + 1, first, first]


def test_29_rset_in_a_second_segment_before_the_barrier(place: Place):
    with place.in_data() as client:
        with stopped(place.server):
            client.send(DOT)
            client.send(b"RSET\r\n")

        assert codes(client, 4) == ([451] * 3 if place.commit == "cancel" else [250] * 3) + [250]
    assert place.settle() == (0 if place.commit in ("cancel", "hold") else 1)


def test_30_quit_in_one_segment_with_the_dot(place: Place):
    with place.in_data() as client:
        client.send(DOT + b"QUIT\r\n")

        assert codes(client, 4) == [250, 250, 250, 221]
        assert client.rest() == b""
    assert place.settle() == 1


def test_31_another_message_without_rset_in_one_segment_with_the_dot(place: Place):
    with place.in_data() as client:
        client.send(DOT + NEXT_MAIL % place.users[0].encode())

        assert codes(client, 7) == [250, 250, 250, 250, 250, 354, 250]
        client.quit()
    assert [len(maildirs.messages(place.server.maildir(user))) for user in place.users] == [2, 1, 1]


@pytest.mark.parametrize("command", ["RSET", "LHLO again.example.org"])
def test_41_rset_or_lhlo_behind_the_reply(place: Place, command: str):
    with place.in_data() as client:
        client.send(DOT)
        assert codes(client, 3) == [250] * 3

        assert client.command(command).code == 250
        client.quit()
    assert place.settle() == (0 if place.commit == "hold" else 1)


def test_40_commands_within_the_body_are_text(place: Place):
    with place.in_data() as client:
        client.send(b"RSET\r\nQUIT\r\nNOOP\r\n" + DOT)

        assert codes(client, 3) == [250] * 3
        client.quit()
    assert place.settle() == 1
    stored = maildirs.only_message(place.server.maildir(place.users[0]))
    assert stored.original.endswith(b"hello\nRSET\nQUIT\nNOOP\n")


# ---- the client goes


def close(client: LmtpClient) -> None:
    client.send(DOT)
    client.close()


def quit_and_close(client: LmtpClient) -> None:
    client.send(DOT + b"QUIT\r\n")
    client.close()


@pytest.mark.parametrize("leave", [close, quit_and_close], ids=["32 close", "34 QUIT, close"])
def test_connection_lost_before_the_barrier(place: Place, leave: Callable[[LmtpClient], None]):
    client = place.in_data()
    with stopped(place.server):
        leave(client)

    assert place.settle() == (1 if place.commit == "immediate" else 0)
    assert place.retry() == [250] * 3
    assert place.stored() == 1


def test_33_reset_before_the_barrier(place: Place):
    client = place.in_data()
    with stopped(place.server):
        client.send(DOT)
        client.reset()

    # A reset may take the dot with it, if the server has not read it: then it saw no whole message.
    assert place.settle() in ({0, 1} if place.commit == "immediate" else {0})
    assert place.retry() == [250] * 3
    assert place.stored() == 1


def test_35_half_closed_client_reads_its_replies(place: Place):
    with place.in_data() as client:
        with stopped(place.server):
            client.send(DOT)
            client.half_close()

        looks_gone = place.transport == "tcp" and place.commit in ("checked", "cancel")
        assert codes(client, 3) == [451 if looks_gone else 250] * 3
        assert client.rest() == b""
    assert place.settle() == (0 if looks_gone or place.commit == "hold" else 1)


def test_35_half_closed_client_behind_quit_reads_its_replies(place: Place):
    with place.in_data() as client:
        with stopped(place.server):
            client.send(DOT + b"QUIT\r\n")
            client.half_close()

        looks_gone = place.transport == "tcp" and place.commit in ("checked", "cancel")
        assert codes(client, 4) == [451 if looks_gone else 250] * 3 + [221]
        assert client.rest() == b""
    assert place.settle() == (0 if looks_gone else 1)


CUTS = [b"", b"\r", b"\r\n.", b"\r\n.\r", b".", b".\r", b"\r\n.\n", b"\n.\n", b"\r\n.\r\r\n"]


@pytest.mark.parametrize("cut", CUTS)
def test_38_connection_lost_in_the_body(place: Place, cut: bytes):
    client = place.in_data()
    client.send(cut)
    client.close()

    assert place.settle() == 0
    assert place.retry() == [250] * 3
    assert place.stored() == 1


@pytest.mark.parametrize("chunk", [b"BDAT 9\r\nabc", b"BDAT 3\r\nabc", b"BDAT 9 LAST\r\nabc", b"BDAT 9 LA"])
def test_38_connection_lost_in_a_chunk(place: Place, chunk: bytes):
    client = place.client()
    client.envelope("me@example.org", place.users)
    client.send(chunk)
    client.close()

    assert chunk.endswith(b"LA") or place.settle() == 0  # without a body there is nothing to report
    assert place.retry() == [250] * 3
    assert place.stored() == 1


def test_39_probe_that_closes_behind_354(place: Place):
    with place.client() as client:
        client.envelope("me@example.org", place.users)
        assert client.command("DATA").code == 354

    assert place.settle() == 0
    assert place.retry() == [250] * 3
    assert place.stored() == 1


def test_42_cached_connection_that_is_closed_without_quit(place: Place):
    with place.in_data() as client:
        client.send(DOT)
        assert codes(client, 3) == [250] * 3

    assert place.settle() == (0 if place.commit == "hold" else 1)
    assert place.retry() == [250] * 3
    assert place.stored() == 1


def test_42_cached_connection_that_is_used_again(place: Place):
    with place.in_data() as client:
        client.send(DOT)
        assert codes(client, 3) == [250] * 3
        client.send(b"RSET\r\n")
        assert client.reply().code == 250
        assert [reply.code for reply in client.deliver("me@example.org", place.users, TEXT)] == [250] * 3
        client.quit()

    assert place.stored() == (1 if place.commit == "hold" else 2)
