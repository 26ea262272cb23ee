"""`lmtpd deliver`: the seven steps from standard input, and what the caller learns from the exit code."""

import io
import os
import pwd
import sys

import pytest

from lmtpd.__main__ import main
from lmtpd.cli.deliver import exit_code
from lmtpd.protocol import replies
from storage.history import History

MESSAGE = b"From alice Mon Nov 23 10:00:00 2026\nMessage-ID: <1@example.net>\nSubject: hi\n\nhello\n"


@pytest.fixture
def mail(tmp_path):
    (tmp_path / "mail" / "bob").mkdir(parents=True)
    return tmp_path / "mail"


@pytest.fixture
def deliver(tmp_path, mail, monkeypatch):
    def run(*arguments, message=MESSAGE):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(message)))
        return main(
            ["deliver", "--mailboxes", f"{mail}/{{user}}", "--state", str(tmp_path / "state"), *arguments]
        )

    return run


def messages(maildir):
    return [path.read_bytes() for path in sorted((maildir / "new").glob("*"))]


def test_message_is_delivered_without_the_mbox_line(deliver, mail, capsys):
    assert deliver("--to", "bob@example.org", "--from", "alice@example.net") == os.EX_OK

    (message,) = messages(mail / "bob")
    assert message.startswith(b"Return-Path: <alice@example.net>\nDelivered-To: bob@example.org\nReceived: ")
    assert message.endswith(b"\nMessage-ID: <1@example.net>\nSubject: hi\n\nhello\n")
    assert b"\nFrom alice" not in message
    output = capsys.readouterr()
    assert (output.out, output.err) == ("", "")


@pytest.mark.parametrize("sender", [[], ["--from", ""], ["--from", "<>"]])
def test_sender_is_null_unless_given(deliver, mail, sender):
    assert deliver("--to", "bob@example.org", *sender) == os.EX_OK

    assert messages(mail / "bob")[0].startswith(b"Return-Path: <>\n")


def test_several_recipients(deliver, mail):
    (mail / "eve").mkdir()

    assert deliver("--to", "bob@example.org", "--to", "<eve@example.org>") == os.EX_OK

    assert len(messages(mail / "bob")) == len(messages(mail / "eve")) == 1


def test_delivery_is_in_the_history(deliver, tmp_path):
    deliver("--to", "bob@example.org", "--from", "alice@example.net")

    (row,) = History(tmp_path / "state" / "history.db").find(message_id="<1@example.net>")
    assert (row.outcome, row.client, row.sender) == ("delivered", "stdin", "alice@example.net")


def test_same_message_on_purpose_arrives_twice(deliver, mail):
    deliver("--to", "bob@example.org")
    deliver("--to", "bob@example.org")

    assert len(messages(mail / "bob")) == 2


def test_unknown_user_is_67(deliver, capsys):
    assert deliver("--to", "eve@example.org") == os.EX_NOUSER

    assert capsys.readouterr().err == "lmtpd: <eve@example.org>: 550 5.1.1 No such mailbox\n"


def test_unknown_user_beside_a_known_one_is_told_and_the_other_delivered(deliver, mail, capsys):
    assert deliver("--to", "eve@example.org", "--to", "bob@example.org") == os.EX_NOUSER

    assert len(messages(mail / "bob")) == 1
    assert "eve@example.org" in capsys.readouterr().err


@pytest.mark.parametrize("surplus, code", [(-1, os.EX_UNAVAILABLE), (0, os.EX_OK), (1, os.EX_OK)])
def test_size_limit_counts_the_octets_of_the_wire(deliver, mail, surplus, code):
    octets = len(MESSAGE.partition(b"\n")[2].replace(b"\n", b"\r\n"))

    assert deliver("--to", "bob@example.org", "--set", f"limits.message_octets={octets + surplus}") == code

    assert len(messages(mail / "bob")) == (code == os.EX_OK)


def test_broken_mailbox_is_75(deliver, mail, capsys):
    (mail / "eve").touch()

    assert deliver("--to", "eve@example.org") == os.EX_TEMPFAIL

    assert "451" in capsys.readouterr().err


def test_mailbox_that_breaks_behind_rcpt_is_75(deliver, mail, capsys):
    (mail / "bob" / "tmp").touch()

    assert deliver("--to", "bob@example.org") == os.EX_TEMPFAIL

    assert capsys.readouterr().err.startswith("lmtpd: <bob@example.org>: 4")


def test_retry_after_75_does_not_store_twice(deliver, mail):
    (mail / "eve").touch()
    assert deliver("--to", "bob@example.org", "--to", "eve@example.org") == os.EX_TEMPFAIL

    (mail / "eve").unlink()
    (mail / "eve").mkdir()
    assert deliver("--to", "bob@example.org", "--to", "eve@example.org") == os.EX_OK

    assert len(messages(mail / "bob")) == len(messages(mail / "eve")) == 1


def test_hold_has_nobody_to_hold_for(deliver, mail):
    assert deliver("--to", "bob@example.org", "--set", "delivery.commit=hold") == os.EX_OK

    assert len(messages(mail / "bob")) == 1


def test_state_directory_that_cannot_be_made_is_75(deliver, capsys):
    assert deliver("--to", "bob@example.org", "--state", "/dev/null/state") == os.EX_TEMPFAIL

    assert capsys.readouterr().err == "lmtpd: /dev/null/state: Not a directory\n"


def test_wrong_configuration_is_no_reason_to_bounce(deliver, mail):
    assert deliver("--to", "bob@example.org", "--set", "limits.recipients=0") == os.EX_TEMPFAIL

    assert not (mail / "bob" / "new").exists()


@pytest.mark.parametrize("option", ["--to", "--from"])
def test_address_that_is_none_is_65(deliver, option):
    assert deliver("--to", "bob@example.org", option, "not an address") == os.EX_DATAERR


def test_international_address(deliver, mail):
    (mail / "jürgen").mkdir()

    assert deliver("--to", "jürgen@example.org") == os.EX_OK

    assert b"\nDelivered-To: j\xc3\xbcrgen@example.org\n" in messages(mail / "jürgen")[0]


def test_input_that_breaks_off_is_75_and_leaves_nothing(deliver, mail, monkeypatch, capsys):
    def broken(stream):
        yield b"Subject: x\r\n"
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("lmtpd.cli.deliver.wire_chunks", broken)

    assert deliver("--to", "bob@example.org") == os.EX_TEMPFAIL

    assert messages(mail / "bob") == []
    assert list((mail / "bob" / "tmp").iterdir()) == []
    assert "Input/output error" in capsys.readouterr().err


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_root_delivers_as_the_user_of_the_server(deliver, monkeypatch):
    became: list[pwd.struct_passwd] = []
    monkeypatch.setattr("lmtpd.cli.deliver.drop_privileges", became.append)

    assert deliver("--to", "bob@example.org", "--set", "server.run_as=daemon") == os.EX_OK

    assert [entry.pw_name for entry in became] == ["daemon"]


def test_who_types_the_message_is_told_how_it_ends(deliver, monkeypatch, capsys):
    class Terminal(io.TextIOWrapper):
        def isatty(self):
            return True

    monkeypatch.setattr("io.TextIOWrapper", Terminal)

    assert deliver("--to", "bob@example.org") == os.EX_OK

    assert "Ctrl-D" in capsys.readouterr().err
    assert sys.stdin is not None


@pytest.mark.parametrize(
    "answers, code",
    [
        ([replies.OK, replies.OK], os.EX_OK),
        ([replies.OK, replies.MAILBOX_UNKNOWN], os.EX_NOUSER),
        ([replies.MAILBOX_UNKNOWN, replies.TOO_LARGE], os.EX_UNAVAILABLE),
        ([replies.MAILBOX_UNKNOWN, replies.NO_SPACE], os.EX_TEMPFAIL),
        ([replies.LOCAL_ERROR, replies.OK], os.EX_TEMPFAIL),
    ],
)
def test_exit_code_of_several_answers(answers, code):
    assert exit_code(answers) == code
