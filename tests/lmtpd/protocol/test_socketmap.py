import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmtpd.protocol import socketmap
from lmtpd.protocol.socketmap import REQUEST_OCTETS, SocketmapError, SocketmapReader


def netstring(data: bytes) -> bytes:
    return b"%d:%b," % (len(data), data)


def test_a_request_is_a_name_and_a_key():
    assert list(SocketmapReader().feed(netstring(b"mailbox a b@example.org"))) == [
        ("mailbox", "a b@example.org")
    ]


@given(keys=st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=4), chunk=st.integers(1, 20))
def test_chunking_does_not_matter(keys, chunk):
    data = b"".join(netstring(f"map {key}".encode()) for key in keys)
    reader = SocketmapReader()

    read = [found for at in range(0, len(data), chunk) for found in reader.feed(data[at : at + chunk])]

    assert read == [("map", key) for key in keys]


@pytest.mark.parametrize(
    "data",
    [b"x", b"1x", b":,", b"-1:,", b"3:abcd", b"999999", b"999999:", b"%d:" % (REQUEST_OCTETS + 1), b" 1:a,"],
)
def test_what_is_no_netstring_is_told(data):
    with pytest.raises(SocketmapError, match="netstring"):
        list(SocketmapReader().feed(data))


def test_the_longest_request_is_taken():
    assert len(list(SocketmapReader().feed(netstring(b"m " + b"x" * (REQUEST_OCTETS - 2))))) == 1


def test_results_are_netstrings():
    assert socketmap.found("b@example.org") == b"16:OK b@example.org,"
    assert socketmap.not_found() == b"9:NOTFOUND ,"
    assert socketmap.try_later("not now") == b"12:TEMP not now,"
    assert socketmap.misused("no such map") == b"16:PERM no such map,"
