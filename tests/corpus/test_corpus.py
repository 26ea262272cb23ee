"""Real mail straight over LMTP: each message of the corpus lies on disk as it was sent, byte for byte."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import maildirs
from tests.support.lmtp_client import LmtpClient
from tests.support.requirements import CORPUS, need
from tests.support.server import Server

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("corpus")]

MESSAGES = sorted(CORPUS.glob("*.eml"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    need("corpus")
    with Server(tmp_path_factory.mktemp("corpus")) as server:
        yield server


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[LmtpClient]:
    # All messages over one connection: nothing of one may leak into the next.
    with server.client() as client:
        yield client
        client.quit()


def wire(path: Path) -> bytes:
    """Return the message with CRLF line ends; the corpus has LF alone."""
    return path.read_bytes().replace(b"\n", b"\r\n")


def test_corpus_is_there():
    need("corpus")

    assert len(MESSAGES) >= 100


@pytest.mark.parametrize("path", MESSAGES, ids=lambda path: path.stem)
def test_data_keeps_every_byte(server, client, path):
    recipient = f"data-{MESSAGES.index(path)}@example.org"
    message = wire(path)
    if not message.endswith(b"\r\n"):
        message += b"\r\n"

    (reply,) = client.deliver("sender@example.org", [recipient], message)

    assert (reply.code, reply.status) == (250, "2.0.0")
    stored = maildirs.only_message(server.maildir(recipient))
    assert stored.original == maildirs.on_disk(message)
    assert stored.delivered_to == recipient


@pytest.mark.parametrize("path", MESSAGES, ids=lambda path: path.stem)
def test_bdat_keeps_every_byte(server, client, path):
    recipient = f"bdat-{MESSAGES.index(path)}@example.org"
    message = wire(path)

    # 997 is prime: sooner or later a chunk ends between CR and LF, and within every header.
    (reply,) = client.deliver("sender@example.org", [recipient], message, chunk_octets=997)

    assert (reply.code, reply.status) == (250, "2.0.0")
    assert maildirs.only_message(server.maildir(recipient)).original == maildirs.on_disk(message)


def test_same_message_for_many_recipients_is_the_same_everywhere(server, client):
    path = max(MESSAGES, key=lambda path: path.stat().st_size)
    recipients = [f"many-{number}@example.org" for number in range(20)]

    replies = client.deliver("sender@example.org", recipients, wire(path))

    assert [reply.code for reply in replies] == [250] * 20
    expected = maildirs.on_disk(wire(path))
    for recipient in recipients:
        stored = maildirs.only_message(server.maildir(recipient))
        assert stored.original == expected
        assert stored.delivered_to == recipient
