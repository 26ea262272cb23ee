"""Bad commands and bad lines; numbers: the corner cases of lmtp.md, section 11."""

import dataclasses

import pytest

from lmtpd.protocol import replies
from lmtpd.protocol.events import Closed
from tests.lmtpd.protocol.driver import (
    DATA,
    RECIPIENT,
    SENDER,
    SETTINGS,
    UNKNOWN,
    Driver,
    every_cut,
    greeted,
)

BAD = ["500 5.5.1"]


# ---- bad commands


@pytest.mark.parametrize("line", [b"X", b"", b"HELO x", b"DATA", b"LHLO", b"a\nb", b"x" * 5000])
@pytest.mark.parametrize("count", [9, 10, 11, 12])
def test_eleventh_bad_command_in_a_row_ends_the_session(line, count):
    driver = greeted()  # 12

    said = driver.send((line + b"\r\n") * count)

    assert [reply[:3] for reply in said[:10]] == [said[0][:3]] * min(count, 10)
    assert said[10:] == (["421 4.7.0"] if count > 10 else [])
    assert (Closed() in driver.events) == (count > 10)
    assert driver.send(b"NOOP\r\n") == ([] if count > 10 else ["250 2.0.0"])


def test_limit_of_bad_commands_is_a_setting():
    driver = Driver(dataclasses.replace(SETTINGS, bad_commands=1))

    assert driver.send(b"X\r\nNOOP\r\nX\r\nX\r\n") == [*BAD, "250 2.0.0", *BAD, "421 4.7.0"]


@pytest.mark.parametrize("between", [b"NOOP", b"EXPN x", b"MAIL FROM:<a@b> X=1", b"RSET"])
def test_anything_else_between_bad_commands_starts_the_count_again(between):
    driver = greeted()

    said = driver.send(b"X\r\n" * 10 + between + b"\r\n" + b"X\r\n" * 10)

    assert len(said) == 21
    assert "421 4.7.0" not in said


def test_refused_recipients_are_no_bad_commands():
    driver = greeted()  # 12

    assert driver.send(SENDER + UNKNOWN * 50)[1:] == ["550 5.1.1"] * 50


def test_group_pipelined_behind_a_refused_mail_does_not_end_the_session():
    # Postfix sends MAIL, up to 50 RCPT and DATA at once; closing would make it shun us for all mail.
    driver = greeted()

    said = driver.send(b"MAIL FROM:<s@example.org> SIZE=1001\r\n" + RECIPIENT * 50 + DATA + b"RSET\r\n")

    assert said == ["552 5.3.4", *["503 5.5.1"] * 51, "250 2.0.0"]


def test_refused_mails_in_a_row_do_end_the_session():
    driver = greeted()

    said = driver.send((b"MAIL FROM:<a b>\r\n" + RECIPIENT) * 11)

    assert said == ["501 5.1.7", "503 5.5.1"] * 10 + ["421 4.7.0"]


def test_other_commands_behind_a_refused_mail_count_as_ever():
    driver = greeted()

    assert driver.send(b"MAIL FROM:<> X\r\n" + b"X\r\n" * 11) == ["555 5.5.4", *BAD * 10, "421 4.7.0"]


# ---- lines


def test_silence_ends_the_session():
    driver = greeted()  # 13

    driver.session.time_out()

    assert driver.run() == replies.IDLE_TOO_LONG.encode()
    assert driver.events == [Closed()]


@pytest.mark.parametrize("octets, reply", [(4095, "250 2.0.0"), (4096, "250 2.0.0"), (4097, "500 5.5.2")])
def test_limit_of_a_command_line(octets, reply):
    driver = greeted()  # 14

    assert driver.send(b"NOOP ".ljust(octets - 2, b"x") + b"\r\nRSET\r\n") == [reply, "250 2.0.0"]


def test_endless_line_is_not_kept():
    driver = greeted()

    for _ in range(100):
        assert driver.send(b"x" * 65536) == []
        assert not driver.session.has_input
    assert driver.send(b"\r\nNOOP\r\n") == ["500 5.5.2", "250 2.0.0"]


@pytest.mark.parametrize("byte", [b"\0", b"\r", b"\n"])
@pytest.mark.parametrize(
    "line", [b"%bNOOP", b"NO%bOP", b"NOOP%b", b"NOOP x%by", b"MAIL FROM:<a%bb@c>", b"RCPT TO:<a@b>%b"]
)
def test_nul_bare_cr_and_bare_lf_in_a_command(byte, line):
    # 15; a bare LF never ends a line
    for pieces in every_cut(line % byte + b"\r\nNOOP\r\n"):
        assert greeted().send(*pieces) == ["500 5.5.2", "250 2.0.0"]


def test_commands_ended_by_bare_lf_are_one_line():
    assert greeted().send(b"NOOP\nNOOP\nNOOP\n") == []


@pytest.mark.parametrize(
    "line, reply",
    [
        (b"NOOP \xff", "250 2.0.0"),
        (b"N\xffOP", "500 5.5.1"),
        (b"LHLO \xff", "501 5.5.4"),
        (b"MAIL FROM:<\xc3\xbc@b>", "553 5.6.7"),
        (b"MAIL FROM:<\xff@b> SMTPUTF8", "501 5.1.7"),
        (b"MAIL FROM:<a@b> X\xff", "555 5.5.4"),
    ],
)
def test_8_bit_in_a_command(line, reply):
    assert greeted().send(line + b"\r\n") == [reply]  # 15
