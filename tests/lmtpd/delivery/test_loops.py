"""A message that comes round."""

import pytest

from lmtpd.delivery.outcomes import Delivered
from lmtpd.delivery.transaction import Transaction
from lmtpd.protocol import replies
from tests.support.owing import PEER
from tests.support.services import ENVELOPE, A, Client, codes, make_service, offered


@pytest.mark.parametrize(
    "field, code",
    [
        ("Delivered-To: a@example.org", 554),
        ("delivered-to:a@EXAMPLE.org", 554),
        ("Delivered-To: <a@example.org>", 554),
        ("Delivered-To: b@example.org\r\nDelivered-To: a@example.org", 554),
        ("Delivered-To: b@example.org", 250),
        ("Delivered-To: A@example.org", 250),
        ("Delivered-To: a+x@example.org", 250),
        ("X-Delivered-To: a@example.org", 250),
        ("Subject: Delivered-To: a@example.org", 250),
        ("Delivered-To:", 250),
        ("X: y\r\n\r\nDelivered-To: a@example.org", 250),
    ],
)
@pytest.mark.parametrize("size", [0, 300_000], ids=["small", "large"])
def test_a_message_that_has_been_here_is_refused(tmp_path, field, code, size):
    service = make_service(tmp_path)
    transaction = Transaction(service, PEER, ENVELOPE)
    for recipient in (A, "other@example.org"):
        transaction.offer(offered(recipient))
    transaction.open_body()
    transaction.write(f"{field}\r\n\r\nhello\r\n".encode() + b"x" * size + b"\r\n")

    answered = list(transaction.deliver(Client(), None))

    assert codes(answered) == [code, 250]
    assert answered[0] is replies.LOOPS or isinstance(transaction._copies[0].outcome, Delivered)


def test_what_migrates_may_have_been_here(tmp_path):
    service = make_service(tmp_path)
    service.refuses_loops = False
    transaction = Transaction(service, PEER, ENVELOPE)
    transaction.offer(offered(A))
    transaction.open_body()
    transaction.write(b"Delivered-To: a@example.org\r\n\r\n")

    assert codes(list(transaction.deliver(Client(), None))) == [250]
