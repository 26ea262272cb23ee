"""The table [submission]."""

import pytest

from lmtpd.config import Override, effective, load, written
from tests.support.configs import MAILBOXES, problems_of, setting


@pytest.mark.parametrize(
    "text, host, port, shown",
    [
        ("127.0.0.1:25", "127.0.0.1", 25, "127.0.0.1:25"),
        ("mail.example.org:587", "mail.example.org", 587, "mail.example.org:587"),
        ("[::1]:2525", "::1", 2525, "[::1]:2525"),
        ("localhost:65535", "localhost", 65535, "localhost:65535"),
    ],
)
def test_an_smtp_server_is_host_and_port(text, host, port, shown):
    config = load(None, [MAILBOXES, setting(f"submission.smtp={text}")])

    server = config.submission.smtp
    assert server is not None
    assert (server.host, server.port) == (host, port)
    assert config.submission.is_configured
    assert str(config.submission) == f"SMTP to {shown}"
    assert {written(path): value for path, value in effective(config)}["submission.smtp"] == shown


@pytest.mark.parametrize("text", ["127.0.0.1", "127.0.0.1:0", "127.0.0.1:65536", ":25", "a b:25", "[::1:25"])
def test_anything_else_is_none(tmp_path, text):
    (problem,) = problems_of(tmp_path, "", MAILBOXES, setting(f"submission.smtp={text}"))

    assert problem.endswith('must be HOST:PORT, such as "127.0.0.1:25"')


def test_a_program_is_an_absolute_path_that_can_be_run(tmp_path):
    assert load(None, [MAILBOXES, setting("submission.sendmail=/bin/true")]).submission.is_configured
    (relative,) = problems_of(tmp_path, "", MAILBOXES, setting("submission.sendmail=sendmail"))
    (missing,) = problems_of(tmp_path, "", MAILBOXES, setting(f"submission.sendmail={tmp_path}/none"))
    (directory,) = problems_of(tmp_path, "", MAILBOXES, setting("submission.sendmail=/bin"))

    assert relative.endswith('must be the absolute path of a program, such as "/usr/sbin/sendmail"')
    assert missing.endswith("is not a program that can be run")
    assert directory.endswith("is not a program that can be run")


def test_mail_goes_one_way(tmp_path):
    (problem,) = problems_of(
        tmp_path, '[submission]\nsmtp = "127.0.0.1:25"\nsendmail = "/bin/true"\n', MAILBOXES
    )

    assert "submission.sendmail" in problem
    assert "cannot be combined with submission.smtp" in problem


def test_our_own_socket_is_no_way_out(tmp_path):
    (problem,) = problems_of(
        tmp_path,
        "",
        MAILBOXES,
        Override("--listen", "tcp:127.0.0.1:2424"),
        setting("submission.smtp=127.0.0.1:2424"),
    )

    assert "is a socket of this server" in problem


def test_nothing_is_configured_unless_it_is():
    submission = load(None, [MAILBOXES]).submission

    assert not submission.is_configured
    assert str(submission) == ""


def test_an_unknown_key_is_told(tmp_path):
    (problem,) = problems_of(tmp_path, '[submission]\nsmpt = "127.0.0.1:25"\n', MAILBOXES)

    assert 'did you mean "submission.smtp"?' in problem
