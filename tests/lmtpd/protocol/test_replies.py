import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmtpd.protocol import replies
from lmtpd.protocol.addresses import Address
from lmtpd.protocol.replies import Reply

ADDRESS = Address("user", "example.org")
BY_FUNCTION = {
    "greeting": replies.greeting("mx.example.org"),
    "hello": replies.hello("mx.example.org", octets=1, starttls=True, xforward=True),
    "chunk_received": replies.chunk_received(5),
    "delivered": replies.delivered(str(ADDRESS), "ID"),
    "bad_sender": replies.bad_sender("why"),
    "bad_recipient": replies.bad_recipient("why"),
}
EVERY = {**{name: value for name, value in vars(replies).items() if isinstance(value, Reply)}, **BY_FUNCTION}
# RFC 2034 4: the greeting, the reply to LHLO and 354 have none.
WITHOUT_STATUS = {"greeting", "hello", "START_DATA"}


def test_every_function_of_the_module_is_covered_here():
    made_here = {name for name, value in vars(replies).items() if callable(value) and name.islower()}

    assert {name for name in made_here if not name.startswith("_")} - {"dataclass", "field"} == set(
        BY_FUNCTION
    )


@pytest.mark.parametrize("name", EVERY)
def test_class_of_the_status_matches_the_code(name):
    # 25
    reply = EVERY[name]

    if name in WITHOUT_STATUS:
        assert reply.status == ""
    else:
        assert re.fullmatch(r"[245]\.\d{1,3}\.\d{1,3}", reply.status)
        assert reply.status[0] == str(reply.code)[0]


@pytest.mark.parametrize("name", EVERY)
def test_every_reply_is_well_formed(name):
    for line in EVERY[name].encode().split(b"\r\n")[:-1]:
        assert re.fullmatch(rb"[2345][0-9]{2}[ -][\x20-\x7e]+", line)
        assert len(line) <= 510


@pytest.mark.parametrize("name", EVERY)
def test_reply_is_either_accepted_temporary_or_for_ever(name):
    reply = EVERY[name]

    assert reply.accepted == (reply.code in range(200, 400))
    assert reply.temporary == (reply.code in range(400, 500))


def test_single_line():
    assert Reply(250, "2.0.0", ("OK",)).encode() == b"250 2.0.0 OK\r\n"


def test_several_lines_each_with_the_status():
    assert Reply(550, "5.7.1", ("a", "b", "c")).encode() == b"550-5.7.1 a\r\n550-5.7.1 b\r\n550 5.7.1 c\r\n"


def test_no_status():
    assert Reply(354, "", ("Go",)).encode() == b"354 Go\r\n"


def test_encoding_is_done_once():
    reply = Reply(250, "2.0.0", ("OK",))

    assert reply.encode() is reply.encode()
    assert reply == Reply(250, "2.0.0", ("OK",))


@pytest.mark.parametrize("octets, kept", [(499, 499), (500, 500), (501, 500)])
def test_line_is_cut_to_512_octets(octets, kept):
    encoded = Reply(250, "2.0.0", ("x" * octets,)).encode()

    assert encoded == b"250 2.0.0 " + b"x" * kept + b"\r\n"
    assert len(encoded) <= 512


def test_line_breaks_cannot_be_injected():
    assert Reply(550, "5.7.1", ("no\r\n250 yes\x1b[2J\0",)).encode() == b"550 5.7.1 no??250 yes?[2J?\r\n"


@given(st.lists(st.text(), min_size=1, max_size=3))
def test_nothing_but_printable_ascii_gets_out(lines):
    encoded = Reply(550, "5.7.1", tuple(lines)).encode()

    assert re.fullmatch(rb"(550-5\.7\.1 [\x20-\x7e]*\r\n)*550 5\.7\.1 [\x20-\x7e]*\r\n", encoded)
    assert encoded.count(b"\r\n") == len(lines)


def test_delivered_names_recipient_and_id():
    assert replies.delivered(str(ADDRESS), "ID").encode() == b"250 2.0.0 <user@example.org> Saved ID\r\n"


def test_delivered_keeps_the_id_of_a_long_address():
    assert replies.delivered(str(Address("x" * 4000, "d")), "ID").encode().endswith(b"> Saved ID\r\n")


def test_delivered_to_an_international_address_is_ascii():
    assert replies.delivered(str(Address("ü", "d")), "ID").encode() == b"250 2.0.0 <\\xfc@d> Saved ID\r\n"


@pytest.mark.parametrize(
    "starttls, xforward, last",
    [
        (False, False, "SMTPUTF8"),
        (True, False, "STARTTLS"),
        (False, True, "XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE"),
    ],
)
def test_hello_lists_what_we_offer(starttls, xforward, last):
    lines = replies.hello("mx", octets=42, starttls=starttls, xforward=xforward).lines

    expected = (
        "PIPELINING",
        "ENHANCEDSTATUSCODES",
        "8BITMIME",
        "BINARYMIME",
        "CHUNKING",
        "SIZE 42",
        "SMTPUTF8",
    )
    assert lines[0] == "mx"
    assert lines[1:8] == expected
    assert lines[-1] == last
    assert "DSN" not in lines
