"""The holes that other mail servers had, each as a test of ours. The names in comments are their CVEs."""

import itertools
import re
import time
from pathlib import Path

import pytest

from tests.support.lmtp_client import LmtpClient, Reply, stuffed
from tests.support.maildirs import only_message
from tests.support.server import Server

pytestmark = [pytest.mark.system, pytest.mark.slow]

ENVELOPE = (b"MAIL FROM:<s@example.org>", b"RCPT TO:<a@example.org>")
VERBS = (b"LHLO", b"MAIL FROM:", b"RCPT TO:", b"DATA", b"BDAT", b"RSET", b"NOOP", b"VRFY", b"HELP", b"QUIT")


@pytest.fixture
def client(server: Server):
    with server.client() as client:
        yield client
        client.close()
    with server.client() as after:  # whatever happened, service goes on
        assert after.command("NOOP").code == 250


def _in_step(client: LmtpClient) -> None:
    assert client.command("NOOP").code == 250
    assert client.surplus(wait_s=0.01) == b""


def _ask(server: Server, lines: list[bytes]) -> list[Reply]:
    """One reply for each line, within a second; on fresh connections, lest one is closed for bad manners."""
    replies = []
    for ten in (lines[at : at + 8] for at in range(0, len(lines), 8)):
        with server.client(timeout_s=5) as client:
            for line in ten:
                began = time.monotonic()
                replies.append(client.command(line))
                assert time.monotonic() - began < 1, line
            _in_step(client)
    return replies


# CVE-2020-7046
def test_truncated_utf8_in_a_parameter_ends(server: Server):
    characters = [text.encode()[:at] for text in ("ü", "€", "𝄞") for at in range(1, len(text.encode()))]
    lines = [
        line % cut
        for cut in characters
        for line in (
            *(b"MAIL FROM:<%s@d>", b"MAIL FROM:<a@b> SMTPUTF8 %s", b"MAIL FROM:<a@b> AUTH=%s", b"NOOP %s"),
            *(b"RCPT TO:<%s", b"VRFY %s", b"LHLO %s", b"MAIL FROM:<a@b> BODY=%s"),
        )
    ]

    assert all(reply.code // 100 in (2, 5) for reply in _ask(server, lines))


# CVE-2020-10957
@pytest.mark.parametrize("verb", VERBS[:-1])
def test_every_verb_survives_garbage_behind_it(server: Server, verb: bytes):
    garbage = [
        b"",
        b" ",
        b"  x",
        b"\t",
        b'"',
        b"(",
        b"\xff\xfe",
        b"<",
        b">",
        b"<>",
        b"\\",
        b"%s%n",
        b"=" * 99,
    ]
    garbage += [b" -1", b" 99999999999999999999999999 LAST"] if verb != b"BDAT" else []
    if verb == b"BDAT":
        garbage = [b""]  # where a chunk of unknown length ends is unknown: the connection ends
    for junk in garbage:
        with server.client(timeout_s=5) as client:
            assert client.command(verb + junk).code >= 200


# CVE-2020-10958
def test_a_hundred_thousand_empty_lines_end_the_connection_and_no_more(server: Server):
    for ending in (b"\r\n", b"\n"):
        with server.client() as client:
            try:
                client.send(ending * 100_000 + b"\r\nQUIT\r\n")
            except OSError:
                pass  # it had enough
            assert len(client.rest()) < 10_000
    with server.client() as client:
        assert client.command("NOOP").code == 250


# CVE-2020-10967
@pytest.mark.parametrize(
    "path",
    [
        *(b'<""@d>', b"<>", b"<@>", b'<"\\"">', b'<"\\">', b"<a@>", b"<@d>", b'<" "@d>'),
        b'<"' + b"x" * 3000 + b'"@d>',
        *(b"<..@d>", b"<../x@d>", b"<a/b@d>", b"<.@d>", b"<a@..>", b"<a@../..>", b'<"a/../b"@d>'),
        # OpenSMTPD CVE-2020-7247: there is no shell anywhere
        *(b"<~root@d>", b'<"a;id"@d>', b"<`id`@d>", b"<$(id)@d>", b"<|id@d>"),
    ],
)
def test_strange_paths_are_refused_or_are_one_directory(server: Server, path: bytes):
    with server.client() as client:
        assert client.command(ENVELOPE[0]).code == 250
        reply = client.command(b"RCPT TO:" + path)
        assert reply.code // 100 in (2, 5)
        _in_step(client)
        if reply.code == 250:
            client.command(b"DATA")
            client.send(b"x\r\n.\r\n")
            assert client.reply().code == 250
    below = {len(found.relative_to(server.mail).parts) for found in server.mail.rglob("new")}
    assert below <= {3}
    assert {found.name for found in server.folder.iterdir()} <= {"mail", "state", "lmtpd.log", "lmtpd.sock"}


# CVE-2019-11500, Exim CVE-2020-28021: a NUL, and each other octet, within an argument
def test_no_octet_of_an_argument_gets_into_header_or_replies(server: Server):
    lines = [
        line % bytes([octet])
        for octet in range(256)
        if octet not in b"\r\n"
        for line in (b"MAIL FROM:<s%s@example.org>", b'MAIL FROM:<"s%s"@example.org>', b"NOOP %s")
    ]
    replies = _ask(server, lines)

    for line, reply in zip(lines, replies, strict=True):
        if line.startswith(b"MAIL") and any(octet < 32 or octet == 127 for octet in line):
            assert reply.code >= 500, line


@pytest.mark.parametrize("stray", [b"\r", b"\n", b"\0", b"\r\r", b"\n\n"])
def test_line_ends_in_an_address_inject_nothing(server: Server, stray: bytes):
    with server.client() as client:
        replies = client.commands(b"MAIL FROM:<s@example.org" + stray + b"X-Injected: yes>", b"NOOP")

        assert [reply.code for reply in replies] == [500, 250]


# CVE-2020-12673, CVE-2020-12674
@pytest.mark.parametrize("argument", [b"", b" PLAIN AGEAYg==", b" NTLM", b" GSSAPI " + b"A" * 3000])
def test_auth_is_not_there(client: LmtpClient, argument: bytes):
    assert client.command(b"AUTH" + argument).code == 502
    _in_step(client)


# CVE-2021-33515, Postfix CVE-2011-0411: by default there is no STARTTLS on a unix socket
def test_starttls_is_neither_offered_nor_done(client: LmtpClient):
    assert "STARTTLS" not in client.capabilities
    assert [reply.code for reply in client.commands(b"STARTTLS", b"NOOP")] == [502, 250]


# CVE-2023-51764, 51765, 51766: only CRLF.CRLF is the end of a message
ENDS = [a + b"." + b for a, b in itertools.product((b"\r\n", b"\n", b"\r", b"\r\r\n", b"\n\r"), repeat=2)]


@pytest.mark.parametrize("end", [end for end in ENDS if b"\r\n.\r\n" not in end], ids=repr)
@pytest.mark.parametrize("in_pieces", [False, True])
def test_nothing_else_ends_a_message(server: Server, end: bytes, in_pieces: bool):
    user = f"smuggled-{end.hex()}-{in_pieces}@example.org".lower()
    smuggled = end + b"MAIL FROM:<evil@example.org>\r\nRCPT TO:<victim@example.org>\r\nDATA\r\nevil\r\n.\r\n"
    wire = b"Subject: x\r\n\r\nhello" + smuggled
    with server.client() as client:
        assert client.envelope("s@example.org", [user])[0].code == 250
        client.command(b"DATA")
        for piece in (wire[at : at + 1] for at in range(len(wire))) if in_pieces else [wire]:
            client.send(piece)
        assert client.reply().code == 250
        _in_step(client)
    assert b"RCPT TO:<victim@example.org>\n" in only_message(server.maildir(user)).data
    assert not server.maildir("victim@example.org").exists()


# CVE-2020-12100, 25275, 2024-23184, 23185, 2026-27859: time grows with the octets, whatever they say
@pytest.mark.parametrize(
    "body",
    [
        b"".join(b"X-%d: y\r\n" % number for number in range(100_000)) + b"\r\n",
        b"Subject: " + b"x" * 3_000_000 + b"\r\n\r\n",
        b"Content-Type: text/plain;" + b"".join(b" name*%d*=x;" % n for n in range(100_000)) + b"\r\n\r\n",
        b"Content-Type: multipart/mixed; boundary=a\r\n\r\n" + b"--a\r\nContent-Type: x/y\r\n\r\n" * 50_000,
        b"To: " + b"(" * 1_000_000 + b"\r\n\r\n",
        b"Received: x\r\n" * 20 + b"Message-ID: " + b"<" * 1_000_000 + b"\r\n\r\n",
    ],
    ids=["headers", "long line", "RFC 2231", "parts", "comments", "message id"],
)
def test_no_message_takes_long(server: Server, body: bytes, request: pytest.FixtureRequest):
    user = re.sub(r"\W", "", request.node.callspec.id).lower() + "@example.org"
    with server.client() as client:
        began = time.monotonic()
        (reply,) = client.deliver("s@example.org", [user], body)

        assert reply.code == 250
        assert time.monotonic() - began < 5
    assert only_message(server.maildir(user)).data.endswith(body.replace(b"\r\n", b"\n"))


# Dovecot: a hang when pipelined DATA followed a failed RCPT
def test_pipelined_data_behind_refused_recipients(client: LmtpClient):
    codes = [
        reply.code for reply in client.commands(ENVELOPE[0], b"RCPT TO:<a/b@example.org>", b"DATA", b"NOOP")
    ]

    assert codes == [250, 550, 503, 250]


# Dovecot: a crash on too many bad commands that end in BDAT
def test_too_many_bad_commands_and_bdat(server: Server):
    with server.client() as client:
        client.send(b"X\r\n" * 10 + b"BDAT 5\r\nhello" * 3)
        assert re.search(rb"\r\n421 .*\r\n\Z", client.rest())


# Dovecot: a worker was lost with each client that vanished amid a delivery
def test_clients_that_vanish_leave_nothing_behind(server: Server):
    started = re.search(r" workers=(\d+)", server.log)  # other children serve no client
    assert started
    worker = started[1]

    def open_files() -> int:
        return sum(1 for _ in Path(f"/proc/{worker}/fd").iterdir())

    def vanish() -> None:
        client = server.client()
        client.commands(*ENVELOPE, b"DATA")
        client.send(stuffed(b"x" * 100_000 + b"\r\n"))
        client.reset()

    vanish()
    before = open_files()
    for _ in range(50):
        vanish()
    give_up = time.monotonic() + 10
    while open_files() > before + 4 and time.monotonic() < give_up:
        time.sleep(0.05)
    assert open_files() <= before + 4
    assert list(server.maildir("a@example.org").glob("tmp/*")) == []


# Cyrus CVE-2019-19783: +detail made folders wherever it liked
@pytest.mark.parametrize("detail", ["../x", ".", "..", "INBOX", "a.b.c", "a/b", "%2e%2e", "x" * 200])
def test_a_detail_makes_no_folder(server: Server, detail: str):
    with server.client() as client:
        (reply,) = client.deliver("s@example.org", [f'"u+{detail}"@detail.example'], b"x\r\n")
    assert reply.code in (250, 550)
    made = {path.name for path in (server.mail / "detail.example").glob("*")}
    assert made <= {"u"}
    assert {path.name for path in (server.mail / "detail.example/u").glob("*")} <= {"tmp", "new", "cur"}
