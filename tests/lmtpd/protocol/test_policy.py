import pytest

from lmtpd.protocol import replies
from lmtpd.protocol.policy import REQUEST_OCTETS, PolicyError, PolicyReader, action, size_of

REQUEST = (
    b"request=smtpd_access_policy\nprotocol_state=RCPT\nsender=a@example.net\n"
    b"recipient=b=c@example.org\nsize=12345\nqueue_id=\n\n"
)


def test_a_request_is_read():
    (request,) = PolicyReader().feed(REQUEST)

    assert request["recipient"] == "b=c@example.org"
    assert request["queue_id"] == ""
    assert size_of(request) == 12345


@pytest.mark.parametrize("chunk", [1, 7, 100])
def test_chunking_does_not_matter(chunk):
    data = REQUEST * 3
    reader = PolicyReader()

    read = [request for at in range(0, len(data), chunk) for request in reader.feed(data[at : at + chunk])]

    assert read == list(PolicyReader().feed(REQUEST)) * 3


@pytest.mark.parametrize("data", [b"nonsense\n\n", b"=x\n\n", b"\n\n", b"a=b\nc\n\n"])
def test_what_is_no_request_is_told(data):
    with pytest.raises(PolicyError, match="not name=value"):
        list(PolicyReader().feed(data))


@pytest.mark.parametrize("octets, fine", [(REQUEST_OCTETS, True), (REQUEST_OCTETS + 1, False)])
def test_a_request_has_an_end(octets, fine):
    reader = PolicyReader()
    data = b"a=" + b"x" * (octets - 2)

    if fine:
        assert list(reader.feed(data)) == []
    else:
        with pytest.raises(PolicyError, match="more than"):
            list(reader.feed(data))


@pytest.mark.parametrize("text, size", [("", 0), ("12", 12), ("-1", 0), ("x", 0), ("²", 0)])
def test_a_size_is_a_number(text, size):
    assert size_of({"size": text}) == size


@pytest.mark.parametrize(
    "reply, written",
    [
        (replies.RECIPIENT_OK, b"action=DUNNO\n\n"),
        (replies.MAILBOX_UNKNOWN, b"action=550 5.1.1 No such mailbox\n\n"),
        (replies.MAILBOX_FULL, b"action=452 4.2.2 Mailbox full\n\n"),
        (replies.QUOTA_EXCEEDED, b"action=552 5.2.2 Mailbox full\n\n"),
    ],
)
def test_the_action_says_what_rcpt_would(reply, written):
    assert action(reply) == written
