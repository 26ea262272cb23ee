"""Modified UTF-7 (RFC 3501 5.1.3), and nothing but its one canonical form."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.folders import FolderNameError, decode_utf7, encode_utf7


@pytest.mark.parametrize(
    "text, encoded",
    [
        ("", ""),
        ("Drafts", "Drafts"),
        ("a & b", "a &- b"),
        ("&", "&-"),
        ("-", "-"),
        ("été", "&AOk-t&AOk-"),
        ("~peter/mail/台北/日本語", "~peter/mail/&U,BTFw-/&ZeVnLIqe-"),  # RFC 3501 5.1.3
        ("☺!", "&Jjo-!"),
        ("😀", "&2D3eAA-"),
        ("é&", "&AOk-&-"),
    ],
)
def test_known_names(text, encoded):
    assert encode_utf7(text) == encoded
    assert decode_utf7(encoded) == text


@given(text=st.text())
def test_what_was_encoded_can_be_decoded(text):
    encoded = encode_utf7(text)

    assert decode_utf7(encoded) == text
    assert encoded.isascii()


@given(text=st.text(alphabet="&-,+/=AOk2D ~é", max_size=12))
def test_what_can_be_decoded_is_encoded_in_one_way_only(text):
    try:
        decoded = decode_utf7(text)
    except FolderNameError:
        return

    assert encode_utf7(decoded) == text


@given(text=st.text())
def test_encoding_is_base64_of_utf16(text):
    # The dull way: every character of a run by itself into one string.
    expected, run = "", ""
    for character in [*text, None]:
        if character is not None and not " " <= character <= "~":
            run += character
            continue
        if run:
            digits = base64.b64encode(run.encode("utf-16-be")).decode().rstrip("=").replace("/", ",")
            expected, run = f"{expected}&{digits}-", ""
        expected += {None: "", "&": "&-"}.get(character, character or "")

    assert encode_utf7(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "&",
        "a&b",
        "&AOk",
        "&AOk=-",
        "&AOl-",  # bits left over
        "&AOkA-",  # half a unit of UTF-16
        "&AGE-",  # "a"
        "&AC8-",  # "/"
        "&ACY-",  # "&"
        "&AOk-&AOk-",  # two runs in place of one
        "&2D0-",  # half a character
        "&!!-",
        "&AO k-",
        "é",
        "\n",
    ],
)
def test_other_spellings_are_refused(text):
    with pytest.raises(FolderNameError):
        decode_utf7(text)


def test_half_a_character_has_no_encoding():
    with pytest.raises(FolderNameError):
        encode_utf7("a\udce9")
