"""mbox files, ours and those of other programs."""

import mailbox

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.mbox import MboxMessage, Quoting, divided, read, state_fields, write

LINES = [
    *(b"From alice@example.org Tue Nov 24 10:00:00 2026\n", b"From me to you\n", b">From x\n", b">>From y\n"),
    *(b"\n", b"text\n", b"Subject: a\n", b"Status: RO\n", b"X-Status: AF\n", b"Content-Length: 3\n"),
    *(
        b"X-Keywords: b\n",
        b"X-Mozilla-Status: 0001\n",
        b" folded\n",
        b"X-UID: 7\n",
        b"\r\n",
        b"Status:\n",
        b":\n",
    ),
    *(b"a\r", b"\x00\xff\n"),
]
CONTENTS = st.lists(st.sampled_from(LINES), max_size=8).flatmap(
    lambda lines: st.sampled_from([b"", b"tail", b"From x"]).map(lambda tail: b"".join(lines) + tail)
)


def comes_back(content: bytes) -> bool:
    """Tell whether an mbox can hold it: no header that begins, or is cut off, within a line."""
    return not content.startswith(b" ") and (content.endswith(b"\n") or divided(content)[2] != b"")


MESSAGES = st.builds(
    MboxMessage,
    content=CONTENTS.filter(comes_back),
    flags=st.sets(st.sampled_from("DFPRST")).map(lambda flags: "".join(sorted(flags))),
    keywords=st.lists(st.sampled_from(["$Junk", "work"]), unique=True).map(tuple),
    is_new=st.booleans(),
    arrived_s=st.integers(0, 2**32),
    offset=st.just(0),
)


def essence(message: MboxMessage) -> tuple[object, ...]:
    is_new = message.is_new and not message.flags
    return message.content, message.flags, message.keywords, is_new, message.arrived_s


@given(messages=st.lists(MESSAGES, max_size=4))
def test_what_is_written_comes_back(messages):
    data = b"".join(write(message, b"a@b") for message in messages)

    assert [essence(each) for each in read(data)] == [essence(each) for each in messages]


@settings(max_examples=20)
@given(contents=st.lists(st.sampled_from([b"A: b\n\nbody\n", b"A: b\n\nx\n\nFrom here\n", b"A: b\n\n\n\n"])))
def test_what_the_standard_library_writes_is_read(contents, tmp_path_factory):
    path = tmp_path_factory.mktemp("mbox") / "mbox"
    box = mailbox.mbox(path)
    for number, content in enumerate(contents):
        message = mailbox.mboxMessage(content)
        message.set_flags("RF" if number % 2 else "O")
        message.set_from("a@b", (2026, 11, 24, 10, 0, number, 0, 0, 0))
        box.add(message)
    box.close()

    found = list(read(path.read_bytes(), Quoting.O))

    assert [each.content for each in found] == contents
    assert [each.flags for each in found] == ["FS" if number % 2 else "" for number in range(len(contents))]
    assert [each.arrived_s for each in found] == [1795514400 + number for number in range(len(contents))]


@settings(max_examples=20)
@given(messages=st.lists(MESSAGES, max_size=4))
def test_the_standard_library_reads_what_is_written(messages, tmp_path_factory):
    path = tmp_path_factory.mktemp("mbox") / "mbox"
    path.write_bytes(b"".join(write(message, b"a@b") for message in messages))

    box = mailbox.mbox(path, create=False)

    assert len(box) == len(messages)
    box.close()


@pytest.mark.parametrize(
    "line, arrived_s",
    [
        (b"From a@b Tue Nov 24 10:00:00 2026", 1795514400),
        (b"From - Tue Nov 24 10:00:00 2026", 1795514400),
        (b"From a@b  Tue Nov  3 10:00:00 2026  ", 1793700000),
        (b"From 17@xxx Tue Nov 24 10:00:00 +0000 2026", 1795514400),
        (b"From a@b Tue Nov 24 11:00:00 2026 +0100", 1795514400),
        (b"From a@b Tue Nov 24 08:30:00 -0130 2026", 1795514400),
        (b"From a@b Tue Nov 24 10:00 UTC 2026", 1795514400),
        (b"From Tue Nov 24 10:00:00 2026", 1795514400),
        (b"From a b c Tue, Nov 24 10:00:00 2026", 1795514400),
        (b"From a@b Tue Nov 99 10:00:00 2026", None),
        (b"From a@b whenever", None),
    ],
)
def test_dates_of_from_lines(line, arrived_s):
    (message,) = read(line + b"\nSubject: x\n\nbody\n")

    assert message.content == b"Subject: x\n\nbody\n"
    if arrived_s is not None:
        assert message.arrived_s == arrived_s


HEAD = b"From a@b Tue Nov 24 10:00:00 2026\n"


@pytest.mark.parametrize(
    "quoting, content", [(Quoting.RD, b"\nFrom\n>From a\n"), (Quoting.O, b"\nFrom\n>>From a\n")]
)
def test_quoting(quoting, content):
    assert next(read(HEAD + b"\nFrom\n>>From a\n", quoting)).content == content
    assert next(read(HEAD + b"\n>From a\n", quoting)).content == b"\nFrom a\n"
    assert next(read(HEAD + b"\n>From a\n", Quoting.NONE)).content == b"\n>From a\n"


def test_a_length_tells_where_a_message_with_from_lines_ends():
    body = b"x\n\n" + HEAD + b"y\n"
    data = HEAD + b"Content-Length: %d\nA: b\n\n" % len(body) + body + b"\n" + HEAD + b"\nz\n"

    assert [each.content for each in read(data)] == [b"A: b\n\n" + body, b"\nz\n"]


@pytest.mark.parametrize("length", [b"3", b"999999", b"-1", b"x", b"9" * 30])
def test_a_length_that_is_wrong_is_ignored(length):
    data = HEAD + b"Content-Length: " + length + b"\n\nsome\n\n" + HEAD + b"\nz\n"

    assert [each.content for each in read(data)] == [b"\nsome\n", b"\nz\n"]


def test_state_of_other_programs():
    header = b"X-IMAPbase: 1 2\nStatus: RO\nX-Status: AT\nX-Keywords: $Junk work      \nX-UID: 4\n"
    (message,) = read(HEAD + header + b"Subject: x\n\nbody\n")

    assert message.content == b"Subject: x\n\nbody\n"
    assert (message.flags, message.keywords, message.is_new) == ("DRS", ("$Junk", "work"), False)


def test_thunderbird():
    one = b"From - Tue Nov 24 10:00:00 2026\r\nX-Mozilla-Status: 1007\r\nX-Mozilla-Status2: 00000000\r\n"
    one += b"X-Mozilla-Keys: work        \r\nSubject: x\r\n\r\nbody\r\n\r\n"
    deleted = one.replace(b"1007", b"0009")

    (message,) = read(one + deleted)

    assert message.content == b"Subject: x\n\nbody\n"
    assert (message.flags, message.keywords) == ("FPRS", ("work",))


def test_a_message_about_the_folder_is_none():
    data = HEAD + b"Subject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA\nX-IMAP: 1 2\n\nText.\n\n"

    assert [each.content for each in read(data + HEAD + b"\nz\n")] == [b"\nz\n"]


@pytest.mark.parametrize("data", [b"", b"\n", b"\r\n\n"])
def test_nothing_is_no_message(data):
    assert list(read(data)) == []


def test_another_file_is_refused():
    with pytest.raises(ValueError, match='does not begin with "From "'):
        next(read(b"Subject: x\n"))


def test_only_the_first_field_of_each_name_is_the_files():
    rest, found = state_fields(b"Status: R\n O\nA: b\nSTATUS: x\nnonsense\nX-Uid: 1")

    assert rest == b"A: b\nSTATUS: x\nnonsense\n"
    assert found == {b"status": b"R\n O", b"x-uid": b"1"}


def test_senders_that_are_no_word():
    message = MboxMessage(b"", "", (), is_new=True, arrived_s=0, offset=0)

    assert write(message, b"").startswith(b"From MAILER-DAEMON Thu Jan  1 00:00:00 1970\n")
    assert write(message, b"a b\n").startswith(b"From MAILER-DAEMON ")
    assert write(message, b"a@b").startswith(b"From a@b ")


def test_a_line_in_the_text_that_begins_so_is_no_message():
    text = b"\nHello\n\nFrom here on\nFrom me Tuesday\n"

    assert [each.content for each in read(HEAD + text + b"\n" + HEAD + b"\nz\n")] == [text, b"\nz\n"]


def test_a_message_without_a_body_is_not_divided_at_the_next():
    data = HEAD + b"Subject: x\n" + HEAD + b"Content-Length: 2\n\nz\n"

    assert [each.content for each in read(data)] == [b"Subject: x\n", b"\nz\n"]
