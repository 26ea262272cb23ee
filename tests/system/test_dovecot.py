"""Dovecot serves over IMAP what we delivered, from the same Maildirs and while we deliver."""

import imaplib
from collections.abc import Iterator

import pytest

from tests.support import maildirs
from tests.support.dovecot import OWNER, Dovecot, dovecot
from tests.support.mailbox import server_of_owner
from tests.support.requirements import CORPUS, need
from tests.support.server import Server

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("dovecot")]

# Dovecot reads mail as a user, never as root: deliveries must be that user's.
CONFIG = f"""\
[server]
run_as = "{OWNER}"
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with server_of_owner("imap", CONFIG) as server:
        yield server


@pytest.fixture(scope="module")
def reader(server: Server) -> Iterator[Dovecot]:
    with dovecot(server.mail) as instance:
        yield instance


def send(server: Server, recipient: str, *bodies: bytes) -> None:
    with server.client() as client:
        for body in bodies:
            (reply,) = client.deliver("sender@example.org", [recipient], body)
            assert reply.code == 250
        client.quit()


def uids(client: imaplib.IMAP4) -> list[int]:
    _, (found,) = client.uid("SEARCH", "ALL")
    return [int(uid) for uid in found.split()]


def fetched(client: imaplib.IMAP4, uid: int) -> tuple[int, bytes]:
    """Return the message's size and bytes as IMAP tells them."""
    _, data = client.uid("FETCH", str(uid), "(RFC822.SIZE BODY.PEEK[])")
    (about, content), *_ = data
    return int(about.split(b"RFC822.SIZE ")[1].split()[0]), content


def test_imap_serves_the_bytes_that_came_in(server, reader):
    bodies = [b"Subject: %d\r\n\r\nline %d\r\n\xe4\xf6\xfc\r\n" % (number, number) for number in range(3)]

    send(server, "reader@example.org", *bodies)

    client = reader.imap("reader@example.org")
    client.select("INBOX")
    for uid, body in zip(uids(client), bodies, strict=True):
        size, content = fetched(client, uid)
        assert content.endswith(b"\r\n" + body)
        assert size == len(content)
    client.logout()


def test_uids_stay_while_mail_arrives_in_an_open_mailbox(server, reader):
    send(server, "busy@example.org", b"Subject: 1\r\n\r\n", b"Subject: 2\r\n\r\n")
    client = reader.imap("busy@example.org")
    client.select("INBOX")
    before = uids(client)

    send(server, "busy@example.org", b"Subject: 3\r\n\r\n")
    client.noop()

    assert uids(client)[:2] == before
    assert len(uids(client)) == 3
    client.logout()
    # Dovecot has moved them to cur/: they are still one copy each, under the names that we gave.
    assert len(maildirs.messages(server.maildir("busy@example.org"))) == 3


def test_real_mail_has_the_size_that_its_name_says(server, reader):
    need("corpus")
    messages = [path.read_bytes().replace(b"\n", b"\r\n") for path in sorted(CORPUS.glob("*.eml"))[:40]]

    send(server, "corpus@example.org", *messages)

    client = reader.imap("corpus@example.org")
    client.select("INBOX")
    for uid in uids(client):
        # Dovecot takes the size from W= and closes the connection if the content has another.
        size, content = fetched(client, uid)
        assert size == len(content)
    client.logout()
    assert "Cached message size" not in reader.log
    assert "Corrupt" not in reader.log
