"""Reading replies."""

import pytest

from scripts.lmtp.replies import LINES, ProtocolError, Reply, ReplyReader


@pytest.mark.parametrize(
    "lines, reply, status, text",
    [
        ([b"250 2.1.5 fine"], Reply(250, ("2.1.5 fine",)), "2.1.5", "fine"),
        ([b"250"], Reply(250, ("",)), "", ""),
        ([b"451 4.3.0"], Reply(451, ("4.3.0",)), "4.3.0", ""),
        ([b"550-5.1.1 no", b"550 5.1.1 one"], Reply(550, ("5.1.1 no", "5.1.1 one")), "5.1.1", "no one"),
        ([b"250 2.1 is no status"], Reply(250, ("2.1 is no status",)), "", "2.1 is no status"),
        ([b"250 \xff"], Reply(250, ("\\xff",)), "", "\\xff"),
    ],
)
def test_reply(lines, reply, status, text):
    reader = ReplyReader()

    found = [reader.feed(line) for line in lines]

    assert found == [None] * (len(lines) - 1) + [reply]
    assert (reply.status, reply.text) == (status, text)


@pytest.mark.parametrize("line", [b"", b"hello", b"25 x", b"2500 x", b"150 x", b"650 x", b"250x"])
def test_what_is_no_reply_is_refused(line):
    with pytest.raises(ProtocolError, match="not a reply"):
        ReplyReader().feed(line)


def test_a_reply_of_two_codes_is_refused():
    reader = ReplyReader()
    reader.feed(b"250-one")

    with pytest.raises(ProtocolError, match="begins with 250"):
        reader.feed(b"251 two")


def test_a_reply_without_end_is_refused():
    reader = ReplyReader()
    for _ in range(LINES):
        assert reader.feed(b"250-x") is None

    with pytest.raises(ProtocolError, match="lines"):
        reader.feed(b"250-x")


def test_a_reader_serves_for_many_replies():
    reader = ReplyReader()

    assert reader.feed(b"250 a") == Reply(250, ("a",))
    assert reader.feed(b"451 b") == Reply(451, ("b",))
