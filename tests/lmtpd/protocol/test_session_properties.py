"""What holds for any dialogue, however it is cut."""

import dataclasses
import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmtpd.protocol.events import BodyChunk, Closed, RecipientOffered, TransactionStarted
from tests.lmtpd.protocol.driver import (
    CLIENT,
    DATA,
    RECIPIENT,
    SENDER,
    SETTINGS,
    UNKNOWN,
    Driver,
    Message,
    codes,
    greeted,
)

PATIENT = dataclasses.replace(SETTINGS, bad_commands=10**6, message_octets=10**6)
PRINTABLE = re.compile(rb"(?:[2345][0-9]{2}[ -][\x20-\x7e]{0,506}\r\n)*")
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")

# Dots and line ends in every combination, and what looks like commands.
CONTENT = st.lists(
    st.sampled_from([b"\r\n", b"\r", b"\n", b".", b"..", b"\0", b"\xff", b"text", b"\r\n.\r", b"QUIT\r\n"]),
    max_size=12,
).map(b"".join)
DATA_BODY = CONTENT.map(
    lambda body: DATA + b"." * body.startswith(b".") + body.replace(b"\r\n.", b"\r\n..") + b"\r\n.\r\n"
)
CHUNKS = st.tuples(CONTENT, st.sampled_from([b"", b" LAST"])).map(
    lambda chunk: b"BDAT %d%b\r\n%b" % (len(chunk[0]), chunk[1], chunk[0])
)
LINES = st.sampled_from(
    [
        *(
            CLIENT,
            SENDER,
            RECIPIENT,
            RECIPIENT,
            UNKNOWN,
            b"RSET\r\n",
            b"NOOP\r\n",
            b"X\r\n",
            b"\r\n",
            b"a\nb\r\n",
        ),
        *(
            b"LHLO\r\n",
            b"MAIL FROM:<>\r\n",
            b"MAIL FROM:<a b>\r\n",
            b"x" * 5000 + b"\r\n",
            b"XFORWARD NAME=a\r\n",
        ),
        *(b"MAIL FROM:<s@d> BODY=BINARYMIME\r\n", b"DATA\r\n", b"QUIT\r\n", b"BDAT\r\n", b".\r\n", b"NOOP"),
    ]
)
DIALOGUES = st.lists(LINES | DATA_BODY | CHUNKS, max_size=15).map(lambda parts: b"".join([CLIENT, *parts]))


def cut(wire: bytes, places: list[float]) -> list[bytes]:
    edges = [0, *sorted(round(place * len(wire)) for place in places), len(wire)]
    return [wire[begin:end] for begin, end in pairwise(edges)]


@given(DIALOGUES, st.lists(st.floats(0, 1), max_size=8))
def test_cuts_do_not_matter(wire, places):
    whole, in_pieces = Driver(PATIENT), Driver(PATIENT)

    whole.send(wire)
    in_pieces.send(*cut(wire, places))

    assert in_pieces.output == whole.output
    assert in_pieces.events == whole.events


@settings(max_examples=30)
@given(DIALOGUES)
def test_bytes_one_by_one_are_as_good_as_all_at_once(wire):
    whole, by_byte = Driver(PATIENT), Driver(PATIENT)

    whole.send(wire)
    by_byte.send(*(wire[index : index + 1] for index in range(len(wire))))

    assert by_byte.output == whole.output
    assert by_byte.events == whole.events


@given(DIALOGUES, st.lists(st.floats(0, 1), max_size=8), st.integers(1, 30))
def test_cuts_do_not_matter_at_the_limits(wire, places, octets):
    # How much of a body is handed out before it is refused may depend on the cuts, nothing else may.
    tight = dataclasses.replace(SETTINGS, message_octets=octets, recipients=1, bad_commands=3)
    whole, in_pieces = Driver(tight), Driver(tight)

    whole.send(wire)
    in_pieces.send(*cut(wire, places))

    def without_pieces(driver: Driver) -> list[object]:
        return [event for event in driver.events if not isinstance(event, BodyChunk)]

    assert in_pieces.output == whole.output
    assert without_pieces(in_pieces) == without_pieces(whole)
    assert [message.body for message in in_pieces.messages if message.refusal is None] == [
        message.body for message in whole.messages if message.refusal is None
    ]


MAILS = st.lists(
    st.tuples(st.lists(st.booleans(), max_size=4), CONTENT, st.integers(1, 4), st.booleans()), max_size=4
)


@given(MAILS, st.lists(st.floats(0, 1), max_size=5))
def test_every_mail_arrives_as_it_was_sent_and_every_reply_is_counted(mails, places):
    wire, replies, messages = CLIENT, ["250"], []
    for recipients, content, chunks, by_data in mails:
        accepted = sum(recipients)
        wire += SENDER + b"".join(RECIPIENT if is_known else UNKNOWN for is_known in recipients)
        replies += ["250 2.1.0", *("250 2.1.5" if is_known else "550 5.1.1" for is_known in recipients)]
        if by_data and accepted:
            stuffed = b"".join(
                b"." + line if line.startswith(b".") else line
                for line in re.split(rb"(?<=\r\n)", content + b"\r\n")
            )
            wire += DATA + stuffed + b".\r\n"
            content += b"\r\n"
            replies += ["354"]
        else:
            pieces = [content[number::chunks] for number in range(chunks)]
            content = b"".join(pieces)
            for piece in pieces[:-1]:
                wire += b"BDAT %d\r\n%b" % (len(piece), piece)
            wire += b"BDAT %d LAST\r\n%b" % (len(pieces[-1]), pieces[-1])
            replies += ["250 2.0.0" if accepted else "503 5.5.1"] * (chunks - 1)
        replies += ["250 2.0.0"] * accepted
        if accepted:
            messages.append(Message(content, None, accepted))

    driver = Driver(PATIENT)

    assert driver.send(*cut(wire, places)) == replies
    assert driver.messages == messages


@given(st.lists(st.binary(max_size=30) | LINES, max_size=20))
def test_any_noise_gets_nothing_but_well_formed_replies(noise):
    driver = Driver()

    driver.send(CLIENT, *noise)

    assert PRINTABLE.fullmatch(driver.output)
    codes(driver.output)


@pytest.mark.parametrize(
    "before, line",
    [
        (b"", b"LHLO a.b"),
        (b"", b"NOOP x"),
        (b"", b"VRFY x"),
        (b"", b"BDAT 1"),
        (b"", b"XFORWARD NAME=x"),
        (b"", b"MAIL FROM:<a@b> SIZE=1"),
        (b"", b'MAIL FROM:<"a"@b> AUTH=<>'),
        (b"", b"MAIL FROM:<@r:a@b> SMTPUTF8"),
        (b"MAIL FROM:<> SMTPUTF8\r\n", b"RCPT TO:<a@[1.2.3.4]>"),
        (b"MAIL FROM:<>\r\n", b"RCPT TO:<a@b> ORCPT=rfc822;x"),
        (b"MAIL FROM:<> SMTPUTF8\r\n", b"RCPT TO:<a@b> ORCPT=utf-8;x"),
        (b"MAIL FROM:<>\r\nRCPT TO:<a@b>\r\n", b"DATA "),
    ],
)
def test_any_byte_at_any_place_of_any_command(before, line):
    # CVE-2019-11500, CVE-2020-7046, CVE-2020-10957, CVE-2020-28021
    driver = greeted(PATIENT)
    for place in range(line.find(b" "), len(line) + 1):
        for value in range(256):
            if driver.session.in_body or Closed() in driver.events:
                driver = greeted(PATIENT)
            driver.events.clear()
            driver.output = b""

            driver.send(b"RSET\r\n" + before + line[:place] + bytes([value]) + line[place:] + b"\r\n")

            assert PRINTABLE.fullmatch(driver.output)
            assert not CONTROL.search("".join(map(texts, driver.events))), (place, value)


def texts(event: object) -> str:
    """All text that delivery may write into headers, logs and paths."""
    match event:
        case TransactionStarted(envelope):
            words = [str(envelope.sender), envelope.helo, *envelope.forwarded.values(), envelope.body]
            raw = [envelope.sender_path, *envelope.parameters.values()]
        case RecipientOffered():
            words, raw = [str(event.address)], [event.path, *event.parameters.values()]
        case _:
            return ""
    return "".join([*words, *(value.decode("utf-8") for value in raw)])
