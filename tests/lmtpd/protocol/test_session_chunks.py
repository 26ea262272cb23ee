"""BDAT and the replies behind it; numbers: the corner cases of lmtp.md, section 11."""

import dataclasses

import pytest

from lmtpd.protocol import replies
from lmtpd.protocol.events import BodyChunk, BodyEnded, BodyOffered, Closed, TransactionDropped
from tests.lmtpd.protocol.driver import (
    CLIENT,
    DATA,
    RECIPIENT,
    SENDER,
    SETTINGS,
    UNKNOWN,
    Driver,
    Message,
    addressed,
    every_cut,
    greeted,
)

OK = "250 2.0.0"
DOT = b"text\r\n.\r\n"
TEXT = b"text\r\n"
MAIL = SENDER + RECIPIENT + DATA + DOT
MAILED = ["250 2.1.0", "250 2.1.5", "354", OK]
BINARY = b"MAIL FROM:<s@example.org> BODY=BINARYMIME\r\n"


def test_chunks_are_one_body_without_dots():
    for pieces in every_cut(b"BDAT 3\r\na\r\nBDAT 2\r\n.\rBDAT 0\r\nBDAT 3 LAST\r\n\n.xNOOP\r\n"):
        driver = addressed()  # 70, 75

        assert driver.send(*pieces) == [OK, OK, OK, OK, OK]
        assert driver.events == [BodyOffered(), BodyChunk(b"a\r\n.\r\n.x"), BodyEnded(None)]


def test_chunk_reply_tells_its_octets():
    driver = addressed()
    driver.send(b"BDAT 3\r\nabc")

    assert driver.output == b"250 2.0.0 3 octets received\r\n"


def test_chunk_is_not_read_before_the_body_is_accepted():
    session = addressed().session
    session.receive(b"BDAT 5\r\n")

    assert session.next_event() == BodyOffered()
    assert not session.in_body
    session.answer(replies.START_DATA)

    assert session.in_body
    assert session.take_output() == b""  # 354 is for DATA


def test_empty_last_chunk_alone_is_an_empty_message():
    driver = addressed()  # 70

    assert driver.send(RECIPIENT, b"BDAT 0 LAST\r\n") == ["250 2.1.5", OK, OK]
    assert driver.events[-2:] == [BodyOffered(), BodyEnded(None)]


@pytest.mark.parametrize(
    "before, ends_with",
    [
        (SENDER, [TransactionDropped()]),
        (SENDER + UNKNOWN, [TransactionDropped()]),
        (b"MAIL FROM:<s@example.org> SIZE=1001\r\n" + RECIPIENT, []),  # the driver knows of none
    ],
)
def test_last_chunk_without_recipients_has_no_reply(before, ends_with):
    # 70: the client counts the recipients that we accepted, and waits for as many replies
    for pieces in every_cut(b"BDAT 5 LAST\r\nQUIT\n"):
        driver = greeted()
        driver.send(before)
        driver.events.clear()

        assert driver.send(*pieces) == []
        assert driver.events == ends_with
        assert driver.send(MAIL) == MAILED


def test_xforward_begins_something_new_after_a_refused_mail():
    driver = greeted()

    said = driver.send(b"MAIL FROM:<> X\r\nXFORWARD NAME=a\r\nBDAT 0 LAST\r\n")

    assert said == ["555 5.5.4", OK, "503 5.5.1"]


def test_other_chunks_without_recipients_are_refused_and_read():
    driver = greeted()
    driver.send(SENDER + UNKNOWN)

    assert driver.send(b"BDAT 4\r\nQUIT" * 20 + b"NOOP\r\n") == ["503 5.5.1"] * 20 + [OK]


@pytest.mark.parametrize("start", [Driver, greeted])
@pytest.mark.parametrize("last", [b"", b" LAST"])
def test_chunk_without_a_transaction_is_refused_and_read(start, last):
    driver = start()

    assert driver.send(b"BDAT 4" + last + b"\r\nQUITNOOP\r\n") == ["503 5.5.1", OK]
    assert driver.events == []


@pytest.mark.parametrize("last", [b"", b" LAST"])
def test_bdat_after_the_last_chunk(last):
    driver = addressed()  # 71

    assert driver.send(b"BDAT 1 LAST\r\nx" + b"BDAT 4" + last + b"\r\nQUITNOOP\r\n") == [
        OK,
        "503 5.5.1",
        OK,
    ]


def test_too_many_bad_commands_ending_in_bdat():
    driver = greeted()  # a crash of Dovecot's

    assert driver.send(b"X\r\n" * 10 + b"BDAT 4 LAST\r\nQUITNOOP\r\n")[10:] == ["421 4.7.0"]


@pytest.mark.parametrize("command", [DATA, RECIPIENT, SENDER, b"STARTTLS\r\n", b"XFORWARD NAME=x\r\n"])
def test_who_has_begun_with_chunks_goes_on_with_them(command):
    driver = addressed()  # 71
    driver.send(b"BDAT 1\r\na")

    assert driver.send(command, b"NOOP\r\n", b"BDAT 1 LAST\r\nb") == ["503 5.5.1", OK, OK]
    assert driver.messages == [Message(b"ab", None, 1)]


@pytest.mark.parametrize("command", [b"RSET\r\n", CLIENT])
def test_rset_and_lhlo_between_chunks_drop_all(command):
    driver = addressed()  # 72

    assert len(driver.send(b"BDAT 5\r\nabcde", command, MAIL)) == 6
    assert driver.messages == [Message(TEXT, None, 1)]
    assert TransactionDropped() in driver.events


@pytest.mark.parametrize(
    "line", [b"BDAT", b"BDAT x", b"BDAT -1", b"BDAT 5 FIRST", b"BDAT\t5", b"bdat5", b"BDAT " + b"9" * 21]
)
@pytest.mark.parametrize("start", [Driver, greeted, addressed])
def test_chunk_of_unknown_size_ends_the_session(start, line):
    driver = start()  # 73

    assert driver.send(line + b"\r\nRSET\r\nMAIL FROM:<smuggled@example>\r\n") == ["501 5.5.4"]
    assert driver.events == [Closed()]


@pytest.mark.parametrize("line", [b"bdat 5\0", b"BDAT\n5", b"BDAT 5" + b" " * 5000])
def test_unreadable_bdat_line_ends_the_session(line):
    # Its chunk would be taken for commands.
    assert addressed().send(line + b"\r\nRSET\r\n") == ["501 5.5.4"]


def test_chunk_over_the_limit_is_skipped():
    driver = addressed()  # 74
    chunk = b"BDAT 600\r\n" + b"RSET\r\n" * 100

    said = driver.send(RECIPIENT, chunk * 4 + b"BDAT 6 LAST\r\nNOOP\r\nNOOP\r\n")

    assert said == ["250 2.1.5", OK, "552 5.3.4", "503 5.5.1", "503 5.5.1", "552 5.3.4", "552 5.3.4", OK]
    assert driver.messages[0].refusal is replies.TOO_LARGE


def test_last_chunk_over_the_limit():
    driver = addressed()

    assert driver.send(b"BDAT 1001 LAST\r\n" + b"x" * 1001 + b"NOOP\r\n") == ["552 5.3.4", OK]


def test_many_discarded_chunks_do_not_end_the_session():
    driver = addressed()

    said = driver.send(b"BDAT 1001\r\n" + b"x" * 1001 + b"BDAT 1\r\nx" * 30 + b"RSET\r\n")

    assert said == ["552 5.3.4", *["503 5.5.1"] * 30, OK]


@pytest.mark.parametrize("recipients", [1, 3])
def test_refused_body_of_chunks_is_read_and_answered_for_each_recipient(recipients):
    driver = greeted(body_reply=replies.NO_SPACE)
    driver.send(SENDER + RECIPIENT * recipients)

    said = driver.send(b"BDAT 4\r\nRSETBDAT 4\r\nRSETBDAT 4 LAST\r\nRSETNOOP\r\n")

    assert said == ["452 4.3.1", "503 5.5.1", *["452 4.3.1"] * recipients, OK]
    assert driver.messages == [Message(b"", replies.NO_SPACE, recipients)]


def test_chunk_size_without_end_is_only_counted():
    driver = addressed(dataclasses.replace(SETTINGS, message_octets=10))
    driver.send(b"BDAT 99999999999999999999\r\n")

    assert driver.send(b"x" * 65536, b"NOOP\r\n") == []
    assert driver.session.in_body
