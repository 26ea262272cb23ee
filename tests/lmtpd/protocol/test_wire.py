from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmtpd.protocol.wire import BodyReader, ChunkReader, Input, LineTooLong, StrayByte
from tests.lmtpd.protocol.driver import every_cut

LIMIT = 20
BITS = st.lists(st.sampled_from([b"\r", b"\n", b".", b"\r\n", b"\r\n.", b"x", b"\0", b"yz"]), max_size=20)


def lines_of(pieces: list[bytes]) -> list[object]:
    """What next_line() gives, a refused line as the class of its exception."""
    source = Input(LIMIT)
    found: list[object] = []
    for piece in pieces:
        source.add(piece)
        while True:
            try:
                line = source.next_line()
            except (LineTooLong, StrayByte) as exc:
                found.append(type(exc))
                continue
            if line is None:
                break
            found.append(line)
    return found


def body_of(pieces: list[bytes]) -> tuple[bytes, bytes | None]:
    """The body and what follows it; None while the body goes on."""
    source, reader, body = Input(LIMIT), BodyReader(), b""
    for index, piece in enumerate(pieces):
        source.add(piece)
        data, has_ended = reader.read(source)
        body += data
        if has_ended:
            return body, source.unread() + b"".join(pieces[index + 1 :])
    return body, None


def unstuffed(wire: bytes) -> tuple[bytes, bytes | None]:
    """The dull oracle: line by line, as RFC 5321 4.5.2 tells it."""
    body, rest = b"", wire
    while b"\r\n" in rest:
        line, rest = rest.split(b"\r\n", 1)
        if line == b".":
            return body, rest
        body += line.removeprefix(b".") + b"\r\n"
    return body, None


# ---- lines


def test_lines_do_not_depend_on_cuts():
    for pieces in every_cut(b"MAIL\r\n\r\nRCPT x\r\nrest"):
        assert lines_of(pieces) == [b"MAIL", b"", b"RCPT x"]


def test_half_a_line_is_kept():
    source = Input(LIMIT)
    source.add(b"NOOP\r\nQU")

    assert source.next_line() == b"NOOP"
    assert source.next_line() is None
    assert source.unread() == b"QU"
    assert source


def test_nothing_is_left_of_lines_that_were_read():
    source = Input(LIMIT)
    source.add(b"NOOP\r\n")
    source.next_line()

    assert source.next_line() is None
    assert not source


def test_cleared_input_is_empty_and_begins_a_new_line():
    source = Input(LIMIT)
    source.add(b"x" * 30)
    assert source.next_line() is None

    source.clear()
    source.add(b"NOOP\r\n")

    assert source.next_line() == b"NOOP"


@pytest.mark.parametrize(
    "octets, expected",
    [(LIMIT - 3, b"x" * (LIMIT - 3)), (LIMIT - 2, b"x" * (LIMIT - 2)), (LIMIT - 1, LineTooLong)],
)
def test_limit_of_a_line_includes_its_crlf(octets, expected):
    for pieces in every_cut(b"x" * octets + b"\r\nNOOP\r\n"):
        assert lines_of(pieces) == [expected, b"NOOP"]


@pytest.mark.parametrize("octets", [LIMIT, LIMIT + 1, 5 * LIMIT])
def test_too_long_line_is_read_to_its_end(octets):
    for pieces in every_cut(b"x" * octets + b"\r\nNOOP\r\n"):
        assert lines_of(pieces) == [LineTooLong, b"NOOP"]


def test_too_long_line_is_not_buffered():
    source = Input(LIMIT)
    for _ in range(1000):
        source.add(b"x" * 10 + b"\r")
        assert source.next_line() is None
        assert len(source.unread()) <= LIMIT


def test_too_long_line_tells_how_it_begins():
    source = Input(LIMIT)
    for piece in (b"BDAT 1", b" " * 40, b"\r\n"):
        source.add(piece)
        if piece != b"\r\n":
            assert source.next_line() is None

    with pytest.raises(LineTooLong) as caught:
        source.next_line()

    assert caught.value.head.startswith(b"BDAT 1")


@pytest.mark.parametrize("line", [b"a\rb", b"a\nb", b"a\0b", b"a\r", b"\r", b"\n", b"\n\r"])
def test_bare_cr_bare_lf_and_nul_spoil_a_line_but_do_not_end_it(line):
    for pieces in every_cut(line + b"\r\nNOOP\r\n"):
        assert lines_of(pieces) == [StrayByte, b"NOOP"]


@given(BITS, st.data())
def test_any_cut_gives_the_same_lines(bits, data):
    wire = b"".join(bits)
    cut = data.draw(st.integers(0, len(wire)))

    found = lines_of([wire[:cut], wire[cut:]])

    assert found == lines_of([wire])
    assert len(found) == wire.count(b"\r\n")


# ---- bodies (55 to 59 of the corner cases)


@pytest.mark.parametrize(
    "wire, body",
    [
        (b".\r\n", b""),
        (b"\r\n.\r\n", b"\r\n"),
        (b"text\r\n.\r\n", b"text\r\n"),
        (b"..\r\n.\r\n", b".\r\n"),
        (b"...\r\n.\r\n", b"..\r\n"),
        (b".x\r\n.\r\n", b"x\r\n"),
        (b"a\r\n..b\r\n...\r\n.\r\n", b"a\r\n.b\r\n..\r\n"),
        (b"a\n..b\r\n.\r\n", b"a\n..b\r\n"),  # 57: a bare LF begins no line
        (b"a\r..b\r\n.\r\n", b"a\r..b\r\n"),
        (b"a\r\r\n.\r\n", b"a\r\r\n"),
        (b"\0\xff\x80\r\n.\r\n", b"\0\xff\x80\r\n"),
    ],
)
def test_body_is_unstuffed_whatever_the_cuts(wire, body):
    for pieces in every_cut(wire + b"QUIT\r\n"):
        assert body_of(pieces) == (body, b"QUIT\r\n")


@pytest.mark.parametrize(
    "middle",
    [
        *(b"\n.\r\n", b"\n.\n", b"\r\n.\n", b"\r.\r", b"\r.\r\n", b"\n.\r", b"\r\n.\r", b"\r\n.\r\r\n"),
        *(b"\r\n\0.\r\n", b"\r\n.\0\r\n", b"\r\n..\r\n", b"\r\n. \r\n", b"\r\n .\r\n", b"\n\r.\r\n"),
        *(b"\r\r\n..\r\n", b"\r.\n"),
    ],
)
def test_nothing_but_crlf_dot_crlf_ends_the_data(middle):
    # 55; CVE-2023-51764 to 51766, CVE-2024-27305
    for pieces in every_cut(b"a" + middle + b"b\r\n.\r\nrest"):
        body, rest = body_of(pieces)

        assert rest == b"rest"
        assert body == unstuffed(b"a" + middle + b"b\r\n.\r\n")[0]


@pytest.mark.parametrize("octets", [998, 1000, 1001, 100_000])
def test_lines_of_any_length_are_content(octets):
    # 58
    line = b"." + b"x" * octets + b"\r\n"

    assert body_of([b"." + line + b".\r\n"]) == (line, b"")


@given(BITS, st.lists(st.integers(0, 60)))
def test_body_is_what_the_dull_oracle_says(bits, cuts):
    wire = b"".join([*bits, b"\r\n.\r\n", b"after"])
    edges = [0, *sorted(cuts), len(wire)]
    pieces = [wire[begin:end] for begin, end in pairwise(edges)]

    assert body_of(pieces) == unstuffed(wire)


@given(BITS)
def test_unfinished_body_hands_out_all_but_what_may_be_its_end(bits):
    wire = b"".join(bits)
    body, rest = body_of([wire])

    if rest is None:
        finished = unstuffed(wire + b"z\r\n.\r\n")[0].removesuffix(b"z\r\n")
        assert finished.startswith(body)
        assert len(finished) - len(body) <= 4


def test_piece_without_anything_special_is_handed_on_uncopied():
    source, reader = Input(LIMIT), BodyReader()
    source.add(b"first")
    reader.read(source)
    piece = b"x" * 65536
    source.add(piece)

    assert reader.read(source)[0] is piece


def test_reading_without_input_gives_nothing():
    assert BodyReader().read(Input(LIMIT)) == (b"", False)


# ---- chunks (70)


def test_chunk_is_counted_not_parsed():
    for pieces in every_cut(b"\r\n.\r\n.xQUIT\r\n"):
        source, reader, body, has_ended = Input(LIMIT), ChunkReader(7, is_last=False), b"", False
        for piece in pieces:
            source.add(piece)
            if not has_ended:
                data, has_ended = reader.read(source)
                body += data

        assert has_ended
        assert body == b"\r\n.\r\n.x"
        assert source.unread() == b"QUIT\r\n"


def test_empty_chunk_has_ended_at_once():
    source = Input(LIMIT)
    source.add(b"QUIT")

    assert ChunkReader(0, is_last=True).read(source) == (b"", True)
    assert source.unread() == b"QUIT"


def test_chunk_piece_is_handed_on_uncopied():
    source, piece = Input(LIMIT), b"x" * 65536
    source.add(piece)

    assert ChunkReader(100_000, is_last=True).read(source)[0] is piece


@pytest.mark.parametrize("piece", [b"BDAT 0\r\nrest", b"..\r\n.\r\nrest"])
def test_what_follows_is_not_copied(piece):
    # Copying the rest for each of many tiny chunks or commands would take quadratic time.
    source = Input(LIMIT)
    source.add(piece)

    if piece.startswith(b"B"):
        source.next_line()
        ChunkReader(0, is_last=False).read(source)
    else:
        BodyReader().read(source)

    assert source.data is piece
    assert source.unread() == b"rest"
