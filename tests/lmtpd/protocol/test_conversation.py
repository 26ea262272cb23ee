import pytest

from lmtpd.protocol import replies
from lmtpd.protocol.conversation import Conversation, OpenTransaction
from lmtpd.protocol.events import NO_PARAMETERS, NOT_FORWARDED, Envelope
from tests.lmtpd.protocol.driver import SETTINGS


def transaction() -> OpenTransaction:
    return OpenTransaction(
        Envelope(
            None,
            b"",
            size=None,
            body="7BIT",
            smtputf8=False,
            helo="client",
            tls=False,
            forwarded=NOT_FORWARDED,
            parameters=NO_PARAMETERS,
        )
    )


@pytest.mark.parametrize("octets, is_wanted", [(9, True), (10, True), (11, False)])
def test_limit_of_the_body(octets, is_wanted):
    mail = transaction()

    assert mail.wants(b"x", 10)
    assert mail.wants(b"x" * (octets - 1), 10) == is_wanted
    assert mail.refusal == (None if is_wanted else replies.TOO_LARGE)


def test_nothing_is_wanted_after_a_refusal():
    mail = transaction()
    mail.refusal = replies.NO_SPACE

    assert not mail.wants(b"x" * 11, 10)
    assert mail.refusal is replies.NO_SPACE


def test_chunks_are_confirmed():
    assert transaction().reply_to_chunk(5) == replies.chunk_received(5)


def test_refusal_is_said_once_then_what_becomes_of_the_rest():
    mail = transaction()
    mail.refusal = replies.TOO_LARGE

    said = [mail.reply_to_chunk(5) for _ in range(3)]

    assert said == [replies.TOO_LARGE, replies.CHUNKS_REFUSED, replies.CHUNKS_REFUSED]


def test_transaction_is_only_there_when_open():
    talk = Conversation(SETTINGS, tls=False)

    with pytest.raises(AssertionError):
        _ = talk.transaction
