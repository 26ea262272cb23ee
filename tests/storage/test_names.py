import os
import string
from threading import Barrier, Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.names import HOST_OCTETS, NameSource, Parsed, base_of, parse, with_sizes

TOKEN = "0123456789abcdef"
NOW = 1_760_000_000_123_456_789


def source(*times: int, host: str = "mx.example.org") -> NameSource:
    clock = iter(times)
    return NameSource(host, TOKEN, clock=lambda: next(clock))


def test_a_name_tells_time_process_number_token_and_host():
    name = source(NOW).next()

    assert name == f"1760000000.M123456P{os.getpid()}Q1R{TOKEN}.mx.example.org"


def test_names_sort_by_time_within_a_second():
    names = source(1_000_000_000_000_001_000, 1_000_000_000_100_000_000)

    made = [names.next(), names.next()]

    assert sorted(made) == made


def test_a_clock_that_is_set_back_does_not_take_names_back():
    names = source(NOW, NOW - 3600 * 10**9, NOW + 1000)

    made = [names.next() for _ in range(3)]

    assert [name.split("P")[0] for name in made] == [
        "1760000000.M123456",
        "1760000000.M123456",
        "1760000000.M123457",
    ]
    assert len(set(made)) == 3


def test_names_are_unique_over_many_threads():
    names = NameSource("mx", TOKEN, clock=lambda: NOW)
    start = Barrier(64)
    made: list[list[str]] = [[] for _ in range(64)]

    def make(mine: list[str]) -> None:
        start.wait()
        mine.extend(names.next() for _ in range(1000))

    threads = [Thread(target=make, args=(mine,)) for mine in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len({name for mine in made for name in mine}) == 64_000


def test_a_fork_makes_names_of_its_own(monkeypatch):
    names = source(NOW, NOW)
    parent = names.next()
    monkeypatch.setattr(os, "getpid", lambda: 4711)

    child = names.next()

    assert "P4711Q" in child
    assert "P4711Q" not in parent


@pytest.mark.parametrize(
    "host, written",
    [
        ("a/b:c", r"a\057b\072c"),
        ("a,b", r"a\054b"),
        ("a b\n", r"a\040b\012"),
        ("é", r"\303\251"),
        ("back\\slash", r"back\134slash"),
    ],
)
def test_what_a_name_cannot_hold_is_escaped(host, written):
    name = source(NOW, host=host).next()

    assert name.endswith(f"R{TOKEN}.{written}")


@pytest.mark.parametrize("octets, kept", [(99, 99), (100, 100), (101, 100)])
def test_a_long_host_is_cut(octets, kept):
    name = source(NOW, host="h" * octets).next()

    assert name.partition(f"R{TOKEN}.")[2] == "h" * kept


def test_an_escape_is_not_cut_in_half():
    name = source(NOW, host="h" * (HOST_OCTETS - 1) + "/").next()

    assert name.endswith("h" * (HOST_OCTETS - 1))


def test_the_longest_name_is_a_file_name():
    name = source(10**18 * 10, host="/" * 200).next()

    assert len(with_sizes(name, 10**12, 10**12) + ":2," + string.ascii_letters) <= 255


@pytest.mark.parametrize("host, token", [("", TOKEN), ("mx", ""), ("mx", "XYZ"), ("mx", "12\n")])
def test_a_source_needs_a_host_and_a_token(host, token):
    with pytest.raises(ValueError, match="host name"):
        NameSource(host, token)


def test_a_name_can_be_read_back():
    base = source(NOW).next()

    assert parse(base) == Parsed(
        base=base,
        token=TOKEN,
        pid=os.getpid(),
        host="mx.example.org",
        octets=None,
        wire_octets=None,
        flags=None,
    )


def test_sizes_and_flags_can_be_read_back():
    base = source(NOW).next()

    parsed = parse(with_sizes(base, 12, 15) + ":2,FS")

    assert parsed is not None
    assert (parsed.base, parsed.octets, parsed.wire_octets, parsed.flags) == (base, 12, 15, "FS")


@given(host=st.text(min_size=1), octets=st.integers(0), wire_octets=st.integers(0), flags=st.text("DFPRSTab"))
def test_whatever_was_made_is_ours(host, octets, wire_octets, flags):
    base = source(NOW, host=host).next()
    name = f"{with_sizes(base, octets, wire_octets)}:2,{flags}"

    parsed = parse(name)

    assert parsed is not None
    assert (parsed.base, parsed.token, parsed.octets, parsed.wire_octets) == (
        base,
        TOKEN,
        octets,
        wire_octets,
    )
    assert parsed.flags == flags
    assert "/" not in name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "1760000000.M1P2.mx",  # Dovecot
        "1760000000.12_3.mx",  # fdm
        "1760000000.M1P2Q3.mx",  # Python's mailbox
        f"1760000000.M1P2Q3R{TOKEN}.",
        f"1760000000.M1P2Q3R{TOKEN}.mx\n",
        f"x/1760000000.M1P2Q3R{TOKEN}.mx",
        f"1760000000.M1P2Q3R{TOKEN}.mx/x",
        f"1760000000.M1P2Q3R{TOKEN}.mx:1,",
        f"1760000000.M1P2Q3R{TOKEN}.mx,S=x",
        f"١.M1P2Q3R{TOKEN}.mx",  # a digit to str.isdigit
    ],
)
def test_other_names_are_not_ours(name):
    assert parse(name) is None


@pytest.mark.parametrize(
    "name, base",
    [
        ("a", "a"),
        ("a:2,", "a"),
        ("a:2,FS", "a"),
        ("a,S=1,W=2:2,S", "a,S=1,W=2"),
        ("a:1,x", "a"),
        ("a:2,S:2,", "a"),
    ],
)
def test_flags_are_no_part_of_the_base(name, base):
    assert base_of(name) == base
