"""The order of commands and the contract with the driver; numbers: corner cases of lmtp.md, section 11."""

import pytest

from lmtpd.protocol import replies
from lmtpd.protocol.events import (
    BodyOffered,
    Closed,
    RecipientOffered,
    TransactionDropped,
    TransactionStarted,
)
from lmtpd.protocol.session import Session, SessionMisused
from tests.lmtpd.protocol.driver import (
    CLIENT,
    DATA,
    RECIPIENT,
    SENDER,
    SETTINGS,
    UNKNOWN,
    Driver,
    addressed,
    every_cut,
    greeted,
)


def kinds(driver: Driver) -> list[type]:
    return [type(event) for event in driver.events]


# ---- commands and order


def test_greeting():
    session = Session(SETTINGS)

    session.greet()

    assert session.take_output() == b"220 mx.example.org LMTP\r\n"
    assert session.take_output() == b""


@pytest.mark.parametrize("verb", [b"HELO", b"EHLO"])
def test_helo_and_ehlo_are_refused_and_change_nothing(verb):
    driver = addressed()  # 1

    assert driver.send(verb + b" client\r\n") == ["500 5.5.1"]
    assert driver.send(DATA) == ["354"]


def test_mail_before_lhlo():
    assert Driver().send(SENDER) == ["503 5.5.1"]  # 2


@pytest.mark.parametrize("line", [b"LHLO\r\n", b"LHLO  \r\n", b"LHLO two words\r\n"])
def test_lhlo_without_a_name_changes_nothing(line):
    driver = addressed()  # 3

    assert driver.send(line) == ["501 5.5.4"]
    assert driver.send(DATA) == ["354"]


def test_lhlo_lists_what_we_offer():
    driver = Driver()

    assert driver.send(CLIENT) == ["250"]
    assert driver.output.startswith(b"250-mx.example.org\r\n250-PIPELINING\r\n")
    assert b"\r\n250-SIZE 1000\r\n" in driver.output


def test_second_lhlo_drops_the_transaction():
    driver = addressed()  # 4

    assert driver.send(CLIENT, DATA) == ["250", "503 5.5.1"]
    assert kinds(driver) == [TransactionDropped]
    assert driver.session.envelope is None


@pytest.mark.parametrize("command", [RECIPIENT, DATA])
def test_out_of_order_before_mail(command):
    assert greeted().send(command) == ["503 5.5.1"]  # 5


def test_nested_mail_leaves_the_first_transaction_intact():
    driver = addressed()  # 6

    assert driver.send(b"MAIL FROM:<other@example.org>\r\n") == ["503 5.5.1"]
    assert driver.session.envelope is not None
    assert driver.session.envelope.sender_path == b"s@example.org"
    assert driver.send(DATA) == ["354"]


def test_data_without_recipients():
    assert greeted().send(SENDER, DATA) == ["250 2.1.0", "503 5.5.1"]  # 7


def test_pipelined_data_after_all_recipients_were_refused():
    for pieces in every_cut(SENDER + UNKNOWN + UNKNOWN + DATA + b"RSET\r\n"):
        driver = greeted()  # 7; never 354: Postfix would wait for a reply to its lone dot

        assert driver.send(*pieces) == ["250 2.1.0", "550 5.1.1", "550 5.1.1", "503 5.5.1", "250 2.0.0"]
        assert BodyOffered not in kinds(driver)


@pytest.mark.parametrize("verb", [b"DATA", b"RSET", b"QUIT", b"STARTTLS"])
def test_no_argument_allowed(verb):
    driver = greeted() if verb == b"STARTTLS" else addressed()  # 8

    assert driver.send(verb + b" x\r\n") == ["501 5.5.4"]
    assert driver.events == []


def test_rset_before_lhlo():
    driver = Driver()  # 9

    assert driver.send(b"RSET\r\n", SENDER) == ["250 2.0.0", "503 5.5.1"]
    assert kinds(driver) == [TransactionDropped]


@pytest.mark.parametrize("state", [Driver, greeted, addressed])
@pytest.mark.parametrize(
    "line, reply",
    [
        (b"NOOP", "250 2.0.0"),
        (b"NOOP \xff whatever =+;", "250 2.0.0"),  # CVE-2020-10957
        (b"VRFY <user>", "252 2.1.5"),
        (b"VRFY", "501 5.5.4"),
        (b"HELP", "214 2.0.0"),
        (b"HELP MAIL", "214 2.0.0"),
        (b"EXPN list", "502 5.5.1"),
        (b"AUTH PLAIN AGEAYg==", "502 5.5.1"),  # 79
        (b"AUTH", "502 5.5.1"),
    ],
)
def test_commands_without_effect(state, line, reply):
    driver = state()  # 10
    before = driver.session.envelope

    assert driver.send(line + b"\r\n") == [reply]
    assert driver.events == []
    assert driver.session.envelope is before


@pytest.mark.parametrize("line", [b"noop", b"NoOp", b"NOOP  ", b"NOOP\t", b"rSeT \t "])
def test_mixed_case_and_trailing_blanks(line):
    assert greeted().send(line + b"\r\n") == ["250 2.0.0"]  # 11


@pytest.mark.parametrize(
    "line, reply",
    [
        (b"ETRN", "500 5.5.1"),
        (b"NOOPx", "500 5.5.1"),
        (b"MAIL\tFROM:<>", "500 5.5.1"),
        (b"\xff\xfe", "500 5.5.1"),
        (b"", "500 5.5.2"),
        (b"  ", "500 5.5.2"),
        (b" NOOP", "500 5.5.2"),
    ],
)
def test_unknown_and_empty_commands(line, reply):
    assert greeted().send(line + b"\r\n") == [reply]


def test_pipelined_commands_are_answered_in_order():
    for pieces in every_cut(CLIENT + SENDER + RECIPIENT + b"RSET\r\nNOOP\r\nQUIT\r\n"):
        expected = ["250", "250 2.1.0", "250 2.1.5", "250 2.0.0", "250 2.0.0", "221 2.0.0"]

        assert Driver().send(*pieces) == expected


# ---- ending


def test_quit():
    driver = addressed()

    assert driver.send(b"QUIT\r\nNOOP\r\n", b"NOOP\r\n") == ["221 2.0.0"]
    assert driver.events == [Closed()]
    assert driver.session.next_event() is None
    assert not driver.session.has_input


def test_shutdown_of_an_idle_session():
    driver = greeted()  # 17

    driver.session.shut_down()
    driver.session.shut_down()

    assert driver.run() == replies.SHUTTING_DOWN.encode()
    assert driver.events == [Closed()]


def test_shutdown_within_a_body():
    driver = addressed()
    driver.send(DATA, b"text")

    driver.session.shut_down()

    assert driver.run() == replies.SHUTTING_DOWN.encode()
    assert driver.send(b"\r\n.\r\n") == []
    assert not driver.session.in_body


# ---- the contract with the driver


def asking(*lines: bytes) -> Session:
    """A session that waits for the answer to the last line."""
    session = Session(SETTINGS)
    session.receive(CLIENT + b"".join(lines))
    while not isinstance(event := session.next_event(), RecipientOffered):
        assert isinstance(event, TransactionDropped | TransactionStarted)
    return session


def test_session_does_not_go_on_without_an_answer():
    session = asking(SENDER, RECIPIENT, b"NOOP\r\n")
    session.take_output()

    with pytest.raises(SessionMisused):
        session.next_event()

    assert session.take_output() == b""


@pytest.mark.parametrize("end", [Session.time_out, Session.shut_down])
def test_session_does_not_end_without_the_answer(end):
    session = asking(SENDER, RECIPIENT)

    with pytest.raises(SessionMisused):
        end(session)


def test_second_answer_is_one_too_many():
    session = asking(SENDER, RECIPIENT)
    session.answer(replies.RECIPIENT_OK)

    with pytest.raises(SessionMisused):
        session.answer(replies.RECIPIENT_OK)


def test_answer_before_the_question_was_read_is_one_too_many():
    session = asking(SENDER, RECIPIENT, DATA, b"text\r\n.\r\n")
    session.answer(replies.RECIPIENT_OK)
    assert isinstance(session.next_event(), BodyOffered)
    session.answer(replies.START_DATA)
    session.next_event()  # the text; that it has ended was not told yet

    with pytest.raises(SessionMisused):
        session.answer(replies.LOCAL_ERROR)
