"""Holes of other servers in what a client could write where, or make unlimited. In comments: their CVEs."""

import re
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.maildirs import messages, only_message
from tests.support.requirements import ROOT
from tests.support.server import Server

pytestmark = [pytest.mark.system, pytest.mark.slow]

BODY = b"Subject: x\r\n\r\nx\r\n"


# Exim CVE-2020-28021, 28022: a line end in a parameter, encoded as xtext allows, came out decoded
@pytest.mark.parametrize("octets", [b"+0A", b"+0D+0A", b"+00", b"+09", b"+7F", b"+C2+85", b"+E2+80+A8"])
def test_no_encoded_line_end_gets_into_the_message_or_the_log(server: Server, octets: bytes):
    user = f"injected{octets.hex()}@example.org"
    planted = b"x" + octets + b"X-Injected:+20yes"
    with server.client() as client:
        client.command(b"XFORWARD NAME=%s IDENT=%s HELO=%s SOURCE=REMOTE" % ((planted,) * 3))
        assert client.command(b"MAIL FROM:<s@example.org> AUTH=" + planted).code // 100 in (2, 5)
        client.command(b"RSET")
        assert client.command(b"MAIL FROM:<s@example.org>").code == 250
        reply = client.command(b"RCPT TO:<%s> ORCPT=rfc822;%s" % (user.encode(), planted))
        if reply.code != 250:
            assert reply.code // 100 == 5
            assert client.command(f"RCPT TO:<{user}>").code == 250
        assert client.command(b"DATA").code == 354
        client.send(BODY + b".\r\n")
        assert client.reply().code == 250
        client.quit()

    stored = only_message(server.maildir(user))
    names = re.findall(rb"^([!-9;-~]+):", stored.data.partition(b"\n\n")[0], re.MULTILINE)
    assert set(names) <= {b"Return-Path", b"Delivered-To", b"X-Original-To", b"Received", b"Subject"}
    assert not any(octet < 32 and octet not in b"\n\t" for octet in stored.data)
    assert "\nX-Injected" not in server.log


# CVE-2019-11500: a NUL within a quoted string; here each octet in each place of each argument
@pytest.mark.parametrize("quote", [b"", b'"'])
def test_any_octet_in_any_place_of_a_recipient_is_one_mailbox_or_none(server: Server, quote: bytes):
    local = b"abc"
    for octet in (*range(0x21), 0x22, 0x2F, 0x3E, 0x40, 0x5C, 0x7F, 0x80, 0xFF):
        if octet in b"\r\n":
            continue  # ends the line, or is refused as part of it
        with server.client() as client:
            for place in range(len(local) + 1):
                user = local[:place] + bytes([octet]) + local[place:]
                assert client.command(b"RSET").code == 250
                assert client.command(b"MAIL FROM:<>").code == 250
                path = b"<%s%s%s@octets.example>" % (quote, user, quote)
                if client.command(b"RCPT TO:" + path).code == 250:
                    client.command(b"DATA")
                    client.send(b"Subject: %b\r\n\r\n.\r\n" % path.hex().encode())
                    assert client.reply().code == 250, path
    found = list((server.mail / "octets.example").rglob("new"))
    assert {len(new.relative_to(server.mail).parts) for new in found} <= {3}
    for new in found:
        for stored in messages(new.parent):
            assert stored.delivered_to.count("@octets.example") == 1


# CVE-2020-10967 with more than fits into a line
def test_a_quoted_string_of_64_kib_is_refused_in_one_reply(server: Server):
    with server.client() as client:
        client.command("MAIL FROM:<>")
        assert client.command(b'RCPT TO:<"' + b"x" * 65_536 + b'"@d>').code == 500
        assert client.command("NOOP").code == 250


# Dovecot: two sessions of one process had the same id, and overwrote each other's file
def test_no_two_transactions_have_the_same_id(tmp_path: Path):
    ids: list[str] = []
    with Server(tmp_path, flags=["--workers", "4"]) as server, ExitStack() as connections:
        clients = [connections.enter_context(server.client()) for _ in range(16)]
        for _ in range(10):
            for client in clients:
                (reply,) = client.deliver("s@example.org", ["a@example.org"], BODY + b"%d\r\n" % len(ids))
                assert reply.code == 250
                ids.append(reply.text.split()[-1])
        server.kill()
        server.start()
        with server.client() as client:
            (reply,) = client.deliver("s@example.org", ["a@example.org"], BODY)
            ids.append(reply.text.split()[-1])

    assert len(ids) == len(set(ids)) == 161


# Cyrus CVE-2021-33582: keys of a hash table that a client could choose so that all of them met
def test_hashing_is_not_predictable():
    program = "import lmtpd.__main__; print(hash(b'a@example.org'))"

    hashes = {
        subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, check=True).stdout
        for _ in range(3)
    }

    assert len(hashes) == 3


# CVE-2026-27859 and its kin: the time grows with the octets and no faster
@pytest.mark.parametrize(
    "piece", [b"X: y\r\n", b"Content-Type: a/b; n*0*=x;\r\n\tn*1*=y\r\n", b"Received: x\r\n "]
)
def test_ten_times_the_header_takes_no_more_than_ten_times(server: Server, piece: bytes):
    def seconds(octets: int) -> float:
        body = b"Subject: x\r\n" + piece * (octets // len(piece)) + b"\r\n\r\nx\r\n"
        best = 60.0
        for _ in range(3):
            with server.client() as client:
                began = time.monotonic()
                assert client.deliver("s@example.org", ["linear@example.org"], body)[0].code in (250, 554)
                best = min(best, time.monotonic() - began)
        return best

    assert seconds(3_000_000) < 10 * seconds(300_000) * 3 + 0.5  # other programs take their share
