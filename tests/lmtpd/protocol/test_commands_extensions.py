"""Arguments of what is not in RFC 5321: chunks, XFORWARD; and whether a client has cancelled."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmtpd.protocol import commands, replies
from lmtpd.protocol.commands import decode_xtext, is_cancelled, parse_bdat, parse_xforward
from tests.lmtpd.protocol.driver import refusal


def xtext(text: str) -> bytes:
    """Encode as RFC 3461 4 wants it."""
    return b"".join(
        b"+%02X" % byte if byte < 33 or byte > 126 or byte in b"+=" else bytes([byte])
        for byte in text.encode()
    )


# ---- BDAT


@pytest.mark.parametrize(
    "argument, expected",
    [
        (b"0", (0, False)),
        (b"0 LAST", (0, True)),
        (b"12 last", (12, True)),
        (b"0012  Last", (12, True)),
        (b"9" * 20, (int("9" * 20), False)),
    ],
)
def test_bdat(argument, expected):
    assert parse_bdat(argument) == expected


@pytest.mark.parametrize(
    "argument",
    [
        b"",
        b"LAST",
        b"x",
        b"-1",
        b"+1",
        b"1.0",
        b"1 FIRST",
        b"1 LAST LAST",
        b"1LAST",
        b" 1",
        b"9" * 21,
        "²".encode(),
    ],
)
def test_malformed_bdat_is_refused(argument):
    assert refusal(parse_bdat, argument) is replies.BDAT_SYNTAX


# ---- XFORWARD and xtext


def test_xforward():
    argument = b"NAME=host.example ADDR=192.0.2.1 port=25 PROTO=ESMTP HELO=a+2Bb IDENT=4bXyZ SOURCE=REMOTE"

    assert parse_xforward(argument) == {
        "NAME": "host.example",
        "ADDR": "192.0.2.1",
        "PORT": "25",
        "PROTO": "ESMTP",
        "HELO": "a+b",
        "IDENT": "4bXyZ",
        "SOURCE": "REMOTE",
    }


@pytest.mark.parametrize("value", [b"[UNAVAILABLE]", b"[unavailable]", b"[TEMPUNAVAIL]", b""])
def test_what_is_not_available_is_not_known(value):
    assert parse_xforward(b"NAME=" + value) == {"NAME": None}


@pytest.mark.parametrize("octets, is_ok", [(254, True), (255, True), (256, False)])
def test_limit_of_a_forwarded_value(octets, is_ok):
    assert (refusal(parse_xforward, b"HELO=" + b"x" * octets) is None) == is_ok


@pytest.mark.parametrize(
    "argument",
    [
        *(
            b"",
            b" ",
            b"NAME",
            b"=x",
            b"OTHER=x",
            b"NAME=x OTHER=x",
            b"NAME=a=b",
            b"NAME=+",
            b"NAME=+0",
            b"NAME=+XY",
        ),
        *(
            b"NAME=a+0Ab",
            b"NAME=a+00b",
            b"NAME=a+7F",
            b"NAME=+C2+85",
            b"NAME=+FF",
            b"NAME=\xff",
            b"NAME=\x01",
        ),
    ],
)
def test_malformed_xforward_is_refused(argument):
    assert refusal(parse_xforward, argument) is replies.XFORWARD_SYNTAX


@given(st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1))
def test_xtext_decodes_to_what_was_encoded(text):
    assert decode_xtext(xtext(text)) == text


@given(st.binary(max_size=20))
def test_xtext_of_any_bytes_is_printable_or_an_error(noise):
    try:
        text = decode_xtext(noise)
    except ValueError:
        return
    assert text.isprintable()


# ---- has the client cancelled?


@pytest.mark.parametrize(
    "buffered, expected",
    [
        (b"RSET\r\n", True),  # 27
        (b"rset  \r\n", True),
        (b"NOOP\r\nNOOP x\r\nRSET\r\nQUIT\r\n", True),
        (b"RSET\r\nQU", True),
        (b"RSET\r\nM", False),  # may become MAIL
        (b"RSET\r\nma", False),
        (b"RSET\r\nMAIL", False),
        (b"RSET\r\nMAIL FROM:<a", False),
        (b"RSET\r\nmail FROM:<a@b>\r\n", False),  # 28
        (b"RSET\r\nNOOP\r\nMAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\nDATA\r\n", False),
        (b"RSET\r\nMAILBOX\r\n", True),
        (b"RSET\r\nMAILB", True),
        (b"RSET x\r\n", False),
        (b"RSET", False),
        (b"RSET\r", False),
        (b"", False),
        (b"QUIT\r\nRSET\r\n", False),
        (b"MAIL FROM:<a@b>\r\nRSET\r\n", False),
        (b"LHLO x\r\nRSET\r\n", False),
        (b"\r\nRSET\r\n", False),
        (b"RSET\n", False),
    ],
)
def test_cancelled(buffered, expected):
    assert is_cancelled(buffered) is expected


def test_limits_have_the_values_of_their_sources():
    assert commands.SIZE_DIGITS == 20
    assert commands.XFORWARD_OCTETS == 255
