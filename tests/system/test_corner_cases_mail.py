"""What mail looks like, end to end on both transports; numbers: the corner cases of lmtp.md, section 11."""

import ssl
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count

import pytest
import trustme

from tests.support import maildirs
from tests.support.lmtp_client import LmtpClient
from tests.support.polling import wait_for
from tests.support.server import Server

pytestmark = pytest.mark.system

ME = "me@example.org"
TEXT = b"Subject: hi\r\n\r\nhello\r\n"
LIMIT = 1_000_000

_serial = count(1)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def server(tmp_path_factory, authority: trustme.CA) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("mail")
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(folder / "tls.pem"))
    keys = {"limits.message_octets": LIMIT, "limits.recipients": 101, "limits.idle_s": 30}
    keys |= dict.fromkeys(("tls.cert", "tls.key"), folder / "tls.pem")
    flags = [word for key, value in keys.items() for word in ("--set", f"{key}={value}")]
    with Server(folder, listen=["unix", "tcp"], flags=flags) as server:
        yield server


@pytest.fixture(params=["unix", "tcp"])
def client(server: Server, request) -> Iterator[LmtpClient]:
    with server.client(["unix", "tcp"].index(request.param)) as client:
        yield client


@pytest.fixture
def user() -> str:
    return f"m{next(_serial)}@example.org"


# ---- replies


def test_7_data_after_all_recipients_were_refused_leaves_the_stream_in_step(client: LmtpClient):
    group = ["MAIL FROM:<>", "RCPT TO:<../x@d>", "RCPT TO:<>", "DATA", "RSET", "NOOP"]

    assert [reply.code for reply in client.commands(*group)] == [250, 550, 501, 503, 250, 250]


def test_18_replies_are_in_the_order_of_the_recipients_with_refused_ones_among_them(
    client: LmtpClient, server: Server, user: str
):
    found = client.deliver(ME, [user, ".bad@example.org", f"b{user}", "a/b@example.org", f"c{user}"], TEXT)

    assert [reply.code for reply in found] == [250, 550, 250, 550, 250]
    assert [reply.lines[0].split()[1] for reply in found[::2]] == [f"<{user}>", f"<b{user}>", f"<c{user}>"]


def test_19_the_same_recipient_twice_is_two_replies_and_one_copy(
    client: LmtpClient, server: Server, user: str
):
    assert [reply.code for reply in client.deliver(ME, [user, user.upper()], TEXT)] == [250, 250]
    assert len(maildirs.messages(server.maildir(user))) == 1


@pytest.mark.parametrize("chunk_octets", [None, 100_000])
def test_22_74_a_message_over_the_limit_is_refused_for_each_recipient(
    client: LmtpClient, server: Server, user: str, chunk_octets: int | None
):
    body = b"x" * (LIMIT - 1) + b"\r\n"
    if chunk_octets is not None:
        body = body[:-2] + b"x\r\n"  # the refusal is the last chunk's: the earlier ones are within the limit
        chunk_octets = LIMIT

    found = client.deliver(ME, [user, f"b{user}"], body, chunk_octets=chunk_octets)

    assert [(reply.code, reply.status) for reply in found] == [(552, "5.3.4")] * 2
    assert client.command("NOOP").code == 250
    assert maildirs.files(server.maildir(user)) == maildirs.leftovers(server.maildir(user)) == []
    assert client.deliver(ME, [user], body[2:])[0].code == 250


def test_24_recipients_over_the_limit_are_452_and_the_others_are_kept(
    client: LmtpClient, server: Server, user: str
):
    found = client.deliver(ME, [f"r{place}{user}" for place in range(103)], TEXT)

    assert [(reply.code, reply.status) for reply in found[101:]] == [(452, "4.5.3")] * 2
    assert {reply.code for reply in found[:101]} == {250}
    assert len(maildirs.messages(server.maildir(f"r100{user}"))) == 1


# ---- duplicates


def test_50_53_what_was_confirmed_is_stored_again(client: LmtpClient, server: Server, user: str):
    for _ in range(2):
        assert client.deliver(ME, [user, f"b{user}"], TEXT)[1].code == 250

    assert len(maildirs.messages(server.maildir(user))) == 2


# ---- the end of data, and what lies on disk

BODIES = {
    "56 empty": b"",
    "56 dots": b"..\r\n.x\r\n.\r\n...\r\n",
    "56 without header": b"\r\nbody\r\n",
    "57 dot behind bare LF": b"a\n..b\n.\r\n\n.\nc\r\n",
    "55 bare LF, dot": b"a\n.\nb\n.\r\nc\r\n.\nd\r\n",
    "55 CR": b"a\r.\rb\r.\r\nc\r\n.\r\r\nd\r\r\n.\r\r\ne\r\n",
    "55 NUL": b"a\r\n\0.\r\nb\r\n.\0\r\nc\r\n",
    "58 lines": b"".join(b"." * octets + b"\r\n" for octets in (996, 998, 999, 1000, 1001)),
    "58 1 MB": b"x" * 900_000 + b"\r\n",
    "59 8 bit": bytes(range(256)).replace(b"\r", b"").replace(b"\n", b"") * 4 + b"\r\r\n\n\r\n",
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_55_to_60_bodies_arrive_as_they_were_sent(client: LmtpClient, server: Server, user: str, body: bytes):
    assert client.deliver(ME, [user], body)[0].code == 250
    assert client.command("NOOP").code == 250

    # read() holds S= and W= against the file
    assert maildirs.only_message(server.maildir(user)).original == maildirs.on_disk(body)


@pytest.mark.parametrize("chunk_octets", [1, 7, 10_000_000])
def test_70_chunks_have_no_dots_and_may_be_cut_anywhere(
    client: LmtpClient, server: Server, user: str, chunk_octets: int
):
    body = b".a\r\n.\r\n..\r\nwithout an end of line"

    assert client.deliver(ME, [user], body, chunk_octets=chunk_octets)[0].code == 250
    assert maildirs.only_message(server.maildir(user)).original == maildirs.on_disk(body)


def test_75_pipelined_chunks_and_the_next_message(client: LmtpClient, server: Server, user: str):
    envelope = f"MAIL FROM:<>\r\nRCPT TO:<{user}>\r\n".encode()

    chunks = [envelope + b"BDAT 2\r\na\rBDAT 0\r\nBDAT 2 LAST\r\n\n" + tail for tail in (b"b", b"c")]

    client.send(b"".join(chunks) + b"BDAT 1 LAST\r\nxNOOP\r\n")

    assert [reply.code for reply in client.replies(12)] == [250] * 10 + [503, 250]
    assert [stored.original for stored in maildirs.messages(server.maildir(user))] == [b"a\nb", b"a\nc"]


# ---- addresses


def test_62_to_68_one_mailbox_has_many_addresses(client: LmtpClient, server: Server, user: str):
    local, _, domain = user.partition("@")
    issued = [
        user,
        f'"{local}"@{domain}',
        f"@relay.example,@b.example:{user}",
        user.upper(),
        f"{local}+x@{domain}",
    ]

    for place, address in enumerate(issued):
        assert client.deliver(ME, [address], b"%d\r\n" % place)[0].code == 250

    assert len(maildirs.messages(server.maildir(user))) == len(issued)


ESCAPES = ["../x@d", "/etc@d", '"../x"@d', '"."@d', '".."@d', '".x"@d', '"a/b"@d', "x" * 256 + "@d", '""@d']


@pytest.mark.parametrize("address", ESCAPES)
def test_67_no_address_leads_out_of_the_mailboxes(client: LmtpClient, server: Server, address: str):
    before = sorted(server.folder.glob("*"))

    assert client.envelope(ME, [address])[0].code in (501, 550)

    assert sorted(server.folder.glob("*")) == before
    assert not (server.mail / "d").exists()


# ---- TLS


def close_notify(client: LmtpClient) -> None:
    assert isinstance(client.socket, ssl.SSLSocket)
    client.socket.settimeout(0)
    # It is sent; the server's own has not come yet, or has, or has come with the end of the connection.
    with suppress(ssl.SSLError):
        client.socket.unwrap()


@pytest.mark.parametrize("leave", [close_notify, LmtpClient.close], ids=["close_notify", "raw FIN"])
def test_43_cached_connection_under_tls_that_is_closed_without_quit(
    server: Server, authority: trustme.CA, user: str, leave: Callable[[LmtpClient], None]
):
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with server.client(1) as client:
        client.starttls(context)
        client.lhlo()
        assert client.deliver(ME, [user], TEXT)[0].code == 250
        leave(client)

    wait_for(lambda: f"<{user}>" in server.log, "the report")
    assert len(maildirs.messages(server.maildir(user))) == 1


def test_76_what_came_behind_starttls_is_never_obeyed(server: Server, authority: trustme.CA, user: str):
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with server.client(1) as client:
        client.send(f"STARTTLS\r\nLHLO evil\r\nMAIL FROM:<>\r\nRCPT TO:<{user}>\r\n".encode())
        assert client.reply().code == 220
        assert client.surplus() == b""
        client.socket = context.wrap_socket(client.socket, server_hostname="localhost")

        assert [reply.code for reply in client.commands("MAIL FROM:<>", "DATA")] == [503, 503]


def test_77_starttls_within_a_transaction_leaves_it_open(server: Server, user: str):
    with server.client(1) as client:
        client.envelope(ME, [user])

        assert [reply.code for reply in client.commands("STARTTLS", "DATA")] == [503, 354]
