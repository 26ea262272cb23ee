import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.maildirsize import FILE_OCTETS, UNREADABLE, line, parse, whole
from storage.quota_limit import UNLIMITED, QuotaLimit, Usage

LIMIT = QuotaLimit(1000, 10)


@pytest.mark.parametrize(
    "text, usage, lines",
    [
        (b"1000S,10C\n0 0\n", Usage(0, 0), 1),
        (b"1000S,10C\n500 5\n", Usage(500, 5), 1),
        (b"1000S,10C\n500 5\n10 1\n-500 -4\n", Usage(10, 2), 3),
        (b"1000S,10C\n         500            5\n          10            1\n", Usage(510, 6), 2),
        (b"10C,1000S\n500 5\n", Usage(500, 5), 1),
    ],
)
def test_an_account_is_read(text, usage, lines):
    account = parse(text)

    assert (account.limit, account.usage, account.lines) == (LIMIT, usage, lines)
    assert account.is_sound


@pytest.mark.parametrize(
    "text",
    [
        b"1000S,10C\n",
        b"1000S,10C\n500 5",
        b"1000S,10C\n500 5\n3",
        b"1000S,10C\n500\n",
        b"1000S,10C\n500 5\n\0\0\n",
        b"1000S,10C\n500 5\n\n",
        b"1000S,10C\n-1 1\n",
        b"1000S,10C\n1 -1\n",
        b"1000S,10C\n9999999999999999999 1\n",
        b"1000S,10C\n99999999999999999999 1\n",
    ],
)
def test_what_cannot_be_trusted_is_counted_anew_and_the_limit_is_kept(text):
    account = parse(text)

    assert not account.is_sound
    assert account.limit == LIMIT


@pytest.mark.parametrize("text", [b"", b"1000S,10C"])
def test_a_file_without_a_whole_line_says_nothing(text):
    assert parse(text) == UNREADABLE


@pytest.mark.parametrize("octets, is_sound", [(-1, True), (0, False), (1, False)])
def test_a_file_that_has_grown_is_counted_anew(octets, is_sound):
    text = b"1000S\n" + b"0 1\n" * 2000
    head = text[: FILE_OCTETS + octets]
    padding = len(head) - len(head.rpartition(b"\n")[0]) - 1
    text = head[: len(head) - padding - 1] + b" " * padding + b"\n"

    assert len(text) == FILE_OCTETS + octets
    assert parse(text).is_sound is is_sound


@given(usages=st.lists(st.builds(Usage, st.integers(0, 10**9), st.integers(0, 1000)), max_size=20))
def test_what_is_appended_adds_up(usages):
    text = whole(UNLIMITED, Usage(7, 1)) + b"".join(map(line, usages))

    account = parse(text)

    assert account.usage == sum(usages, Usage(7, 1))
    assert account.lines == len(usages) + 1
