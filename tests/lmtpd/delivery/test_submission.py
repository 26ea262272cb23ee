"""How mail of our own leaves."""

from pathlib import Path

import pytest

from lmtpd.delivery.submission import SendmailSubmission, SmtpSubmission, SubmissionError
from tests.support.server import free_port
from tests.support.submissions import SmtpServer

MESSAGE = b"Subject: x\r\n\r\n.dot\r\nhello\r\n"


def smtp(port: int) -> SmtpSubmission:
    return SmtpSubmission("127.0.0.1", port, hostname="mx.example.org", timeout_s=5)


def test_smtp_sends_from_nobody():
    with SmtpServer() as server:
        smtp(server.port).send("asker@example.net", MESSAGE)

    assert [line.lower() for line in server.lines] == [
        "ehlo mx.example.org",
        "mail from:<>",
        "rcpt to:<asker@example.net>",
        "data",
        *("subject: x", "", "..dot", "hello", "."),
        "quit",
    ]


def test_smtp_sends_to_international_addresses():
    with SmtpServer() as server:
        smtp(server.port).send("jürgen@example.net", MESSAGE)

    assert "mail FROM:<> SMTPUTF8 BODY=8BITMIME" in server.lines
    assert "rcpt TO:<jürgen@example.net>" in server.lines


@pytest.mark.parametrize(
    "answers, is_final",
    [
        ({"connect": "421 busy"}, False),
        ({"connect": "554 no"}, False),
        ({"EHLO": "502 no"}, False),
        ({"MAIL": "451 later"}, False),
        ({"MAIL": "550 no bounces here"}, False),
        ({"RCPT": "450 later"}, False),
        ({"RCPT": "550 no such user"}, True),
        ({"DATA": "451 later"}, False),
        ({".": "452 full"}, False),
        ({".": "554 no"}, False),
    ],
    ids=str,
)
def test_only_an_unknown_recipient_is_final(answers, is_final):
    with SmtpServer(answers) as server, pytest.raises(SubmissionError) as caught:
        smtp(server.port).send("asker@example.net", MESSAGE)

    assert caught.value.is_final is is_final
    assert any(text[:3] in str(caught.value) for text in answers.values())


def test_a_server_that_is_not_there_is_tried_again():
    with pytest.raises(SubmissionError, match="refused") as caught:
        smtp(free_port()).send("asker@example.net", MESSAGE)

    assert not caught.value.is_final


def test_an_international_address_needs_a_server_that_knows_them():
    with SmtpServer(offers="8BITMIME") as server, pytest.raises(SubmissionError) as caught:
        smtp(server.port).send("jürgen@example.net", MESSAGE)

    assert caught.value.is_final


def script(tmp_path: Path, text: str) -> str:
    path = tmp_path / "sendmail"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_sendmail_gets_lines_as_a_program_writes_them(tmp_path):
    program = script(tmp_path, f'echo "$@" > {tmp_path}/arguments; cat > {tmp_path}/message')

    SendmailSubmission(program).send("-asker@example.net", MESSAGE)

    assert (tmp_path / "arguments").read_text() == "-i -f <> -- -asker@example.net\n"
    assert (tmp_path / "message").read_bytes() == MESSAGE.replace(b"\r\n", b"\n")


@pytest.mark.parametrize("code", [1, 75])
def test_sendmail_that_fails_is_tried_again(tmp_path, code):
    program = script(tmp_path, f"cat > /dev/null; echo the queue is full >&2; exit {code}")

    with pytest.raises(SubmissionError, match=f"exit code {code} the queue is full") as caught:
        SendmailSubmission(program).send("asker@example.net", MESSAGE)

    assert not caught.value.is_final


def test_sendmail_that_is_missing_or_hangs_is_tried_again(tmp_path):
    with pytest.raises(SubmissionError, match="No such file"):
        SendmailSubmission(str(tmp_path / "missing")).send("asker@example.net", MESSAGE)
    with pytest.raises(SubmissionError, match="timed out"):
        SendmailSubmission(script(tmp_path, "exec sleep 20"), timeout_s=0.2).send("a@example.net", MESSAGE)
