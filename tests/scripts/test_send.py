"""`lmtp-send` against the real server, and against Dovecot's."""

import io
import json
import os
import subprocess
from collections.abc import Iterator

import pytest
import trustme

from scripts import send as module
from tests.support import maildirs
from tests.support.dovecot import dovecot
from tests.support.postfix import public_folder
from tests.support.requirements import CORPUS, need
from tests.support.scripted_lmtp import scripted_lmtp
from tests.support.scripting import Script, on_terminal, runner
from tests.support.server import Server

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("lmtp-send")]

MESSAGE = b"From alice@example.net Tue Nov 24 10:00:00 2026\nSubject: hello\n\n.dot\n\xc3\xa4\n"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, authority: trustme.CA) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("send")
    issued = authority.issue_cert("127.0.0.1", "localhost")
    issued.private_key_pem.write_to_path(str(folder / "key.pem"))
    issued.cert_chain_pems[0].write_to_path(str(folder / "cert.pem"))
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    flags = ["--set", f"tls.cert={folder}/cert.pem", "--set", f"tls.key={folder}/key.pem"]
    with Server(folder, listen=("unix", "tcp"), flags=flags, create=False) as server:
        for user in ("bob", "eve"):
            server.maildir(f"{user}@example.org").mkdir(parents=True)
        yield server


@pytest.fixture
def lmtp_send(capfd: pytest.CaptureFixture[str]) -> Script:
    return runner(module.main, capfd)


@pytest.fixture
def message(tmp_path):
    path = tmp_path / "message.eml"
    path.write_bytes(MESSAGE)
    return path


def test_one_line_for_each_recipient(lmtp_send, server, message):
    addresses = ["bob@example.org", "nobody@example.org", "<eve@example.org>"]

    result = lmtp_send(
        server.addresses[0], message, "--from", "a@example.net", *(f"--to={each}" for each in addresses)
    )

    assert result.code == os.EX_NOUSER
    lines = result.out.splitlines()
    assert len(lines) == 3
    assert lines[0] == f"{message}: nobody@example.org: 550 5.1.1 No such mailbox"
    assert lines[1].startswith(f"{message}: bob@example.org: 250 2.0.0 ")
    stored = maildirs.messages(server.maildir("bob@example.org"))[-1]
    assert stored.original == MESSAGE.partition(b"\n")[2]
    assert stored.return_path == "<a@example.net>"


def test_on_a_terminal_it_tells_how_many_messages_and_replies(server, message):
    done, seen = on_terminal(
        "send", server.addresses[0], "--to", "bob@example.org", "--to", "eve@example.org",
        *[str(message)] * 3, stdout=subprocess.PIPE,
    )  # fmt: skip

    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 6
    assert b"3/3" in seen
    assert b" messages " in seen
    assert b" replies" in seen
    assert b"bob@example.org" not in seen


def test_standard_input_and_json(lmtp_send, server, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(MESSAGE)))

    result = lmtp_send(server.addresses[1], "--to", "bob@example.org", "--json")

    assert result.code == 0
    (fact,) = result.facts
    assert (fact["to"], fact["stage"], fact["code"], fact["status"]) == (
        "bob@example.org",
        "data",
        250,
        "2.0.0",
    )


def test_dry_run_asks_and_sends_nothing(lmtp_send, server, message):
    before = len(maildirs.files(server.maildir("bob@example.org")))

    result = lmtp_send(server.addresses[0], message, "--to", "bob@example.org", "--dry-run", "--json")

    assert (result.code, result.facts[0]["stage"]) == (0, "rcpt")
    assert len(maildirs.files(server.maildir("bob@example.org"))) == before


def test_real_mail_by_tls_arrives_as_it_is(lmtp_send, server):
    need("corpus")
    paths = sorted(CORPUS.glob("*.eml"))[:20]

    result = lmtp_send(
        server.addresses[1], *paths, "--to=eve@example.org", "--starttls", "--ca", server.folder / "ca.pem"
    )

    assert result.code == 0, result.err
    stored = [each.original for each in maildirs.messages(server.maildir("eve@example.org"))[-20:]]
    expected = [path.read_bytes() for path in paths]
    assert stored == [maildirs.on_disk(each if each.endswith(b"\n") else each + b"\n") for each in expected]


def test_a_certificate_of_nobody_knows_whom_is_refused(lmtp_send, server, message):
    result = lmtp_send(server.addresses[1], message, "--to=bob@example.org", "--starttls")

    assert result.code == os.EX_TEMPFAIL
    assert "unable to get local issuer certificate" in result.err
    assert "Traceback" not in result.err
    assert lmtp_send(server.addresses[1], "--starttls", "--insecure", "--check").code == 0


def test_check_is_a_plugin(lmtp_send, server, message):
    result = lmtp_send(server.addresses[0], "--check", "--to", "bob@example.org", "--warning", "9")

    assert result.code == 0
    assert result.out.startswith("LMTP OK: 1 accepted, 0.")
    figures = result.out.rstrip().partition(" | ")[2]
    assert figures.split()[0].startswith("time=0.")
    assert figures.split()[0].endswith("s;9;;0")
    assert figures.split()[2:] == ["accepted=1;;;0", "refused=0;;;0"]


@pytest.mark.parametrize(
    "arguments, code, words",
    [
        (["--critical", "0"], 2, "LMTP CRITICAL: "),
        (["--warning", "0"], 1, "LMTP WARNING: "),
        (["--warning", "0", "--critical", "100"], 1, "LMTP WARNING: "),
        (["--to", "nobody@example.org"], 2, "LMTP CRITICAL: <nobody@example.org>: 550 5.1.1 No such mailbox"),
        (["--starttls"], 2, "LMTP CRITICAL: "),
        (["--nonsense"], 3, "LMTP UNKNOWN: "),
        (["--warning", "soon"], 3, "LMTP UNKNOWN: "),
        (["/no/such/file", "--to", "bob@example.org"], 3, "LMTP UNKNOWN: "),
    ],
)
def test_check_states(lmtp_send, server, arguments, code, words):
    result = lmtp_send(server.addresses[1], "--check", *arguments)

    assert (result.code, result.out[: len(words)]) == (code, words)
    assert result.out.count("\n") == 1


def test_check_of_a_server_that_is_gone_is_critical(lmtp_send, tmp_path):
    result = lmtp_send(f"unix:{tmp_path}/none", "--check", "--json")

    assert result.code == 2
    assert json.loads(result.out)["failure"] == "cannot connect: No such file or directory"


def test_no_server_gets_figures_into_the_line(lmtp_send, tmp_path):
    with scripted_lmtp(
        tmp_path, b"250 ok\r\n", b"451 4.3.0 \x1b[1m | time=0s\r\n", b"250 ok\r\n"
    ) as scripted:
        result = lmtp_send(scripted.address, "--check", "--to", "x@b")

    assert result.code == 2
    assert result.out.count("|") == 1
    assert "\x1b" not in result.out


def test_a_server_that_hangs_up_is_75(lmtp_send, tmp_path, message):
    with scripted_lmtp(tmp_path, b"250 ok\r\n", b"250 ok\r\n", b"") as scripted:
        result = lmtp_send(scripted.address, message, "--to", "x@b")

    assert result.code == os.EX_TEMPFAIL
    assert result.err == "lmtp-send: the server closed the connection where a reply was due\n"


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["unix:/x"], "to whom?"),
        (["unix:/x", "--check", "file"], "to whom?"),
        (["nowhere", "--to", "x@b"], "write unix:PATH or tcp:HOST:PORT"),
        (["unix:/x", "--to", "x@b\r\nRSET"], "control character"),
    ],
)
def test_wrong_usage_is_64(lmtp_send, arguments, words):
    result = lmtp_send(*arguments)

    assert result.code == (3 if "--check" in arguments else os.EX_USAGE)
    assert words in result.err


def test_dovecot_answers_for_each_recipient(lmtp_send, message):
    need("root", "dovecot")
    with public_folder("mail") as mail:
        mail.chmod(0o777)
        with dovecot(mail) as instance:
            result = lmtp_send(
                f"unix:{instance.lmtp_socket}", message, "--to=x@example.org", "--to=y@example.org", "--json"
            )

            assert [(fact["to"], fact["code"]) for fact in result.facts] == [
                ("x@example.org", 250), ("y@example.org", 250)
            ]  # fmt: skip
