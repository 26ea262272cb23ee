"""DATA and the replies behind the dot; numbers: the corner cases of lmtp.md, section 11."""

import pytest

from lmtpd.protocol import replies
from lmtpd.protocol.events import BodyChunk, BodyEnded, BodyOffered, Closed, TransactionDropped
from lmtpd.protocol.session import Session, SessionMisused
from tests.lmtpd.protocol.driver import (
    DATA,
    RECIPIENT,
    SENDER,
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


def rcpt(name: str) -> bytes:
    return f"RCPT TO:<{name}@d>\r\n".encode()


# ---- DATA


def test_body_is_handed_out_and_answered():
    for pieces in every_cut(DATA + b"..a\r\nb\n.\r\n.\r\nNOOP\r\n"):
        driver = addressed()

        assert driver.send(*pieces) == ["354", OK, OK]
        assert driver.events == [BodyOffered(), BodyChunk(b".a\r\nb\n.\r\n"), BodyEnded(None)]


def test_small_body_comes_in_one_piece():
    session = addressed().session
    session.receive(DATA)
    session.next_event()
    session.answer(replies.START_DATA)
    session.receive(DOT)

    assert [session.next_event(), session.next_event()] == [BodyChunk(TEXT), BodyEnded(None)]


def test_empty_message():
    driver = addressed()  # 56

    assert driver.send(DATA, b".\r\n") == ["354", OK]
    assert driver.events == [BodyOffered(), BodyEnded(None)]


def test_commands_within_data_are_text():
    driver = addressed()  # 40

    assert driver.send(DATA, b"RSET\r\nQUIT\r\nNOOP\r\n.\r\n") == ["354", OK]
    assert driver.messages[0].body == b"RSET\r\nQUIT\r\nNOOP\r\n"


def test_a_reply_for_each_accepted_recipient_in_their_order():
    driver = greeted()  # 18, 20
    verdicts = {"a": replies.MAILBOX_FULL, "c": replies.LOCAL_ERROR}
    driver.deliver = lambda offered: verdicts.get(
        offered.address.local, replies.delivered(str(offered.address), "ID")
    )

    said = driver.send(
        SENDER + rcpt("unknown1") + rcpt("a") + rcpt("unknown2") + rcpt("b") + rcpt("c"), DATA, DOT
    )

    assert said[-4:] == ["354", "452 4.2.2", OK, "451 4.3.0"]
    assert b"<b@d> Saved ID" in driver.output


def test_each_reply_can_be_sent_before_the_next_answer():
    session = addressed().session  # 26
    session.receive(RECIPIENT + DATA + DOT)
    assert session.next_event()
    session.answer(replies.RECIPIENT_OK)
    session.next_event()
    session.answer(replies.START_DATA)
    session.take_output()
    assert [session.next_event(), session.next_event()][1] == BodyEnded(None)

    session.answer(replies.LOCAL_ERROR)

    assert session.take_output() == replies.LOCAL_ERROR.encode()
    assert session.owed == 1


def test_session_waits_until_all_answers_are_given():
    session = addressed().session
    session.receive(DATA)
    session.next_event()
    session.answer(replies.START_DATA)
    session.receive(DOT + b"NOOP\r\n")
    assert [session.next_event(), session.next_event()][1] == BodyEnded(None)

    with pytest.raises(SessionMisused):
        session.next_event()
    session.answer(replies.LOCAL_ERROR)

    assert session.owed == 0
    assert session.envelope is None
    with pytest.raises(SessionMisused):
        session.answer(replies.LOCAL_ERROR)
    assert session.next_event() is None
    assert session.take_output().endswith(replies.LOCAL_ERROR.encode() + replies.OK.encode())


def test_refused_data_leaves_the_transaction_open():
    driver = addressed(body_reply=replies.NO_SPACE)  # 21

    assert driver.send(DATA) == ["452 4.3.1"]
    driver.body_reply = replies.START_DATA
    assert driver.send(RECIPIENT, DATA, DOT) == ["250 2.1.5", "354", OK, OK]


@pytest.mark.parametrize("octets, is_kept", [(999, True), (1000, True), (1001, False), (5000, False)])
def test_limit_of_a_message(octets, is_kept):
    # 22: un-stuffed octets with their CRLF
    body = b"." * (octets - 2) + b"\r\n"
    driver = addressed()

    said = driver.send(RECIPIENT, DATA, b"." + body[:500], body[500:] + b".\r\nNOOP\r\n")

    assert said == ["250 2.1.5", "354", *([OK] * 2 if is_kept else ["552 5.3.4"] * 2), OK]
    assert driver.messages[0].refusal == (None if is_kept else replies.TOO_LARGE)
    assert not is_kept or driver.messages[0].body == body


def test_nothing_of_a_body_is_handed_out_beyond_the_limit():
    driver = addressed()
    driver.send(DATA, b"x" * 900, b"y" * 101, b"z", b"z" * 5000)

    assert driver.events[-1] == BodyChunk(b"x" * 900)


def test_refused_body_cannot_be_accepted():
    driver = addressed(deliver=lambda _offered: replies.OK)
    session = driver.session
    session.receive(DATA)
    session.next_event()
    session.answer(replies.START_DATA)
    session.receive(b"x" * 1001 + b"\r\n.\r\n")
    assert session.next_event() == BodyEnded(replies.TOO_LARGE)

    with pytest.raises(SessionMisused):
        session.answer(replies.OK)

    session.answer(replies.TOO_LARGE)
    assert session.take_output().endswith(replies.TOO_LARGE.encode())


def test_binary_body_is_refused_by_data():
    driver = greeted()

    assert driver.send(BINARY, RECIPIENT, DATA) == ["250 2.1.0", "250 2.1.5", "503 5.5.1"]
    assert driver.send(b"BDAT 3 LAST\r\na\nb") == [OK]
    assert driver.messages == [Message(b"a\nb", None, 1)]


def test_in_body_tells_where_the_next_bytes_belong():
    session = addressed().session
    session.receive(DATA)
    session.next_event()
    assert not session.in_body
    session.answer(replies.START_DATA)

    assert session.in_body
    session.receive(b"x\r\n.\r\n")
    while not isinstance(session.next_event(), BodyEnded):
        assert session.owed == 0 or not session.in_body
    assert not session.in_body


# ---- behind the dot


def test_rset_behind_the_dot_is_read_after_the_replies():
    for pieces in every_cut(DOT + b"RSET\r\n" + MAIL):
        driver = addressed()  # 27, 28: in order, however it arrives
        driver.send(DATA)

        assert driver.send(*pieces) == [OK, OK, *MAILED]
        assert [message.body for message in driver.messages] == [TEXT, TEXT]


@pytest.mark.parametrize(
    "behind, expected",
    [
        (b"RSET\r\n", True),
        (b"NOOP\r\nRSET\r\nQUIT\r\n", True),
        (b"QUIT\r\n", False),
        (b"RSET\r\n" + MAIL, False),
    ],
)
def test_session_tells_whether_the_client_cancels(behind, expected):
    seen: list[bool] = []
    driver = addressed(at_end=lambda session: seen.append(session.cancels()))

    driver.send(DATA, DOT + behind)

    assert seen[0] == expected


def test_rset_that_comes_while_delivering_cancels_too():
    def at_end(session: Session) -> None:
        assert not session.cancels()
        session.receive(b"RSET\r\n")  # 29
        assert session.cancels()
        assert session.has_input

    assert addressed(at_end=at_end).send(DATA, DOT) == ["354", OK, OK]


def test_quit_behind_the_dot():
    driver = addressed()  # 30

    assert driver.send(RECIPIENT, DATA, DOT + b"QUIT\r\n") == ["250 2.1.5", "354", OK, OK, "221 2.0.0"]
    assert driver.events[-1] == Closed()


def test_mail_behind_the_dot_without_rset():
    assert addressed().send(DATA, DOT + MAIL) == ["354", OK, *MAILED]  # 31


def test_rset_after_the_reply_is_told_and_harmless():
    driver = addressed()  # 41, 42

    assert driver.send(DATA, DOT, b"RSET\r\n", MAIL) == ["354", OK, OK, *MAILED]
    assert driver.events[3] == TransactionDropped()
    assert len(driver.messages) == 2


def test_nothing_leaks_into_the_next_transaction():
    driver = greeted()
    driver.send(SENDER + RECIPIENT * 5 + DATA + b"x" * 2000 + b"\r\n.\r\n")

    assert driver.send(MAIL) == MAILED
    assert driver.messages[1] == Message(TEXT, None, 1)
