"""The message "delivered", read back with the standard library."""

import email
import re
from email import policy
from email.message import EmailMessage

import pytest

from lmtpd.delivery.notice import HEADER_OCTETS, Facts, Told, delivered_notice


def facts(**different: object) -> Facts:
    values = {
        "hostname": "mx.example.org",
        "sender": "asker@example.net",
        "envelope_id": "",
        "transaction_id": "1f3a77c0000012",
        "header": b"Subject: a question\nFrom: <asker@example.net>\n",
        "at": 1_764_000_000.0,
        **different,
    }
    return Facts(**values)  # type: ignore[arg-type]  # tests say what they like


def notice(*recipients: Told, **different: object) -> EmailMessage:
    data = delivered_notice(facts(**different), recipients or (Told("a@example.org"),))
    assert b"\n" not in data.replace(b"\r\n", b"")
    parsed = email.message_from_bytes(data, policy=policy.default)
    assert isinstance(parsed, EmailMessage)
    assert not parsed.defects
    return parsed


def blocks(message: EmailMessage) -> list[list[tuple[str, str]]]:
    _, status, _ = message.iter_parts()
    assert isinstance(status, EmailMessage)
    return [block.items() for block in status.get_payload()]  # type: ignore[union-attr]  # a list of messages


def test_it_has_three_parts():
    message = notice()

    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "delivery-status"
    assert [part.get_content_type() for part in message.iter_parts()] == [
        "text/plain",
        "message/delivery-status",
        "text/rfc822-headers",
    ]


def test_it_is_no_ordinary_mail():
    message = notice()

    assert message["From"] == "Mail Delivery System <MAILER-DAEMON@mx.example.org>"
    assert message["To"] == "asker@example.net"
    assert message["Auto-Submitted"] == "auto-replied"
    assert message["Message-ID"].endswith("@mx.example.org>")
    assert message["Date"] == message["Date"].datetime.strftime("%a, %d %b %Y %H:%M:%S %z")


def test_people_read_where_it_is_and_whom_it_was_sent_to():
    message = notice(Told("a@example.org", b"rfc822;info+2Bx@example.org"), Told("b@example.org"))

    text, *_ = message.iter_parts()
    assert isinstance(text, EmailMessage)
    lines = text.get_content().splitlines()
    assert "    <a@example.org> (sent to <info+x@example.org>)" in lines
    assert "    <b@example.org>" in lines
    assert any("1f3a77c0000012" in line for line in lines)


def test_programs_read_one_block_for_each_recipient():
    message = notice(
        Told("a@example.org", b"rfc822;info+2Bx@example.org"), Told("b@example.org"), envelope_id="env+1 x"
    )

    about, first, second = blocks(message)
    assert about[:2] == [("Reporting-MTA", "dns; mx.example.org"), ("Original-Envelope-Id", "env+1 x")]
    assert first == [
        ("Original-Recipient", "rfc822; info+x@example.org"),
        ("Final-Recipient", "rfc822; a@example.org"),
        ("Action", "delivered"),
        ("Status", "2.0.0"),
    ]
    assert second[0] == ("Final-Recipient", "rfc822; b@example.org")
    assert second[1:] == first[2:]


def test_without_an_envelope_id_there_is_none():
    assert "Original-Envelope-Id" not in dict(blocks(notice())[0])


@pytest.mark.parametrize(
    "orcpt, field",
    [
        ("rfc822;a+40b@example.org", "rfc822; a@b@example.org"),
        ("RFC822;a@example.org", "rfc822; a@example.org"),
        ("utf-8;jürgen@example.org", r"utf-8; j\x{FC}rgen@example.org"),
        (r"utf-8;j\x{FC}rgen@example.org", r"utf-8; j\x{FC}rgen@example.org"),
        ("utf-8;plain@example.org", "rfc822; plain@example.org"),
        ("x400;odd", "x400; odd"),
    ],
)
def test_the_original_recipient_keeps_its_type(orcpt, field):
    first, *_ = blocks(notice(Told("a@example.org", orcpt.encode())))[1]

    assert first == ("Original-Recipient", field)


def test_what_is_not_ascii_is_encoded():
    message = notice(Told("jürgen@xn--bcher-kva.example"))

    assert dict(blocks(message)[1])["Final-Recipient"] == r"utf-8; j\x{FC}rgen@xn--bcher-kva.example"
    assert delivered_notice(facts(), [Told("jürgen@example.org")]).isascii()


def test_an_international_sender_is_written_as_he_is():
    assert notice(sender="jürgen@example.net")["To"] == "jürgen@example.net"


@pytest.mark.parametrize(
    "header",
    [
        b"Subject: plain\n",
        b"Subject: gr\xc3\xbc\xc3\x9fe\n",
        b"Subject: \xff\xfe\n",
        b"X-Long: " + b"x" * 2000 + b"\n",
        b"X-Odd: a\rb\0c\n",
        b"",
    ],
    ids=["plain", "utf-8", "bytes", "long", "controls", "none"],
)
def test_the_header_comes_back_as_it_was(header):
    *_, returned = notice(header=header).iter_parts()

    data = returned.get_payload(decode=True)
    assert isinstance(data, bytes)
    # What no line may hold is a question mark.
    assert data.replace(b"\r\n", b"\n").rstrip(b"\n") == re.sub(b"[\r\0]", b"?", header).rstrip(b"\n")


@pytest.mark.parametrize("octets, is_whole", [(-1, True), (0, True), (1, False)])
def test_no_more_of_the_header_comes_back_than_the_limit(octets, is_whole):
    header = b"X: " + b"x" * 60 + b"\n"
    header = header * (HEADER_OCTETS // len(header) - 1)
    header += b"L: " + b"l" * (HEADER_OCTETS - len(header) - 4 + octets) + b"\n"

    *_, returned = notice(header=header).iter_parts()

    data = returned.get_payload(decode=True)
    assert isinstance(data, bytes)
    assert (b"\nL: " in data) is is_whole
    assert data.replace(b"\r\n", b"\n").rstrip(b"\n").rpartition(b"\n")[2][-1:] in b"xl"


def test_long_addresses_are_not_torn():
    address = "x" * 60 + "@" + ".".join(["y" * 60] * 3) + ".example"

    assert dict(blocks(notice(Told(address)))[1])["Final-Recipient"].replace(" ", "") == f"rfc822;{address}"
