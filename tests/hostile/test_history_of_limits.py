"""The holes that other mail servers had at their limits and with what they start, as tests of ours."""

import ast
from pathlib import Path

import pytest

from tests.support.maildirs import leftovers, messages
from tests.support.requirements import ROOT
from tests.support.server import Server

ME = "s@example.org"


# Dovecot: a crash where a message went over quota
@pytest.mark.system
def test_a_message_that_goes_over_one_recipients_quota_amid_the_others(tmp_path: Path):
    names = [f"{name}@example.org" for name in "abc"]
    text = b"Subject: x\r\n\r\n" + b"x" * 70 + b"\r\n"
    with Server(tmp_path, flags=["--set", "quota.default=10K"]) as server, server.client() as client:
        assert client.deliver(ME, [names[1]], text * 100)[0].code == 250

        found = client.deliver(ME, names, text * 50)

        assert [(reply.code, reply.status) for reply in found] == [
            (250, "2.0.0"),
            (452, "4.2.2"),
            (250, "2.0.0"),
        ]
        assert [reply.code for reply in client.deliver(ME, names, text)] == [250] * 3
        client.quit()
        assert [len(messages(server.maildir(name))) for name in names] == [2, 2, 2]
        assert [leftovers(server.maildir(name)) for name in names] == [[]] * 3


# CVE-2020-10957
@pytest.mark.system
def test_garbage_behind_bdat_ends_the_connection_in_order(server: Server):
    garbage = [
        *(b"", b" ", b"\t5", b" -1", b" +5", b" x", b" 0x10", b" 5.0", b" \xff", b' "5"', b" 5 LAST x"),
        *(b" 5 6", b" 5 FIRST", b" 5 LASTLAST", b" LAST", b" 99999999999999999999999999 LAST", b" 5\0 LAST"),
    ]
    for junk in garbage:
        with server.client() as client:
            client.envelope(ME, ["garbage@example.org"])
            reply = client.command(b"BDAT" + junk)
            assert reply.code // 100 == 5, (junk, reply)
            assert client.rest() == b"", junk  # where a chunk of unknown length ends is unknown

    with server.client() as client:
        assert client.deliver(ME, ["garbage@example.org"], b"hi\r\n", chunk_octets=2)[0].code == 250
    assert len(messages(server.maildir("garbage@example.org"))) == 1


# CVE-2020-10958
@pytest.mark.system
def test_a_million_empty_lines_end_the_connection_and_no_more(server: Server):
    with server.client() as client:
        try:
            client.send(b"\r\n" * 1_000_000 + b"QUIT\r\n")
        except OSError:
            pass  # it had enough
        assert len(client.rest()) < 10_000
    with server.client() as client:
        assert client.command("NOOP").code == 250


# OpenSMTPD CVE-2020-7247, 8794
@pytest.mark.parametrize("package", ["lmtpd", "storage", "scripts"])
def test_nothing_is_ever_given_to_a_shell(package: str):
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and _may_start_a_shell(node)
    ]

    assert found == []


def _may_start_a_shell(call: ast.Call) -> bool:
    name = ast.unparse(call.func)
    has_shell = any(keyword.arg == "shell" for keyword in call.keywords)
    return has_shell or name.startswith(
        ("os.system", "os.popen", "os.exec", "os.spawn", "pty.", "subprocess.get")
    )
