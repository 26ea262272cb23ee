"""What each command does; numbers: the corner cases of lmtp.md, section 11."""

import dataclasses

import pytest

from lmtpd.protocol import replies
from lmtpd.protocol.addresses import Address
from lmtpd.protocol.events import (
    Envelope,
    RecipientOffered,
    TlsRequested,
    TransactionDropped,
    TransactionStarted,
)
from lmtpd.protocol.session import Session
from tests.lmtpd.protocol.driver import (
    CLIENT,
    DATA,
    RECIPIENT,
    SENDER,
    SETTINGS,
    UNKNOWN,
    Driver,
    addressed,
    every_cut,
    greeted,
)


def envelope_of(driver: Driver) -> Envelope:
    event = driver.events[-1]
    assert isinstance(event, TransactionStarted)
    assert event.envelope is driver.session.envelope
    return event.envelope


# ---- MAIL


def test_mail_starts_a_transaction():
    driver = greeted(tls=True)

    assert driver.send(b"MAIL FROM:<S@Example.ORG> SIZE=12 BODY=8BITMIME SMTPUTF8 AUTH=<>\r\n") == [
        "250 2.1.0"
    ]
    assert envelope_of(driver) == Envelope(
        sender=Address("S", "example.org"),
        sender_path=b"S@Example.ORG",
        size=12,
        body="8BITMIME",
        smtputf8=True,
        helo="client.example",
        tls=True,
        forwarded={},
        parameters={"AUTH": b"<>"},
    )


def test_null_sender():
    driver = greeted()  # 61

    assert driver.send(b"MAIL FROM:<>\r\n") == ["250 2.1.0"]
    assert (envelope_of(driver).sender, envelope_of(driver).sender_path) == (None, b"")


@pytest.mark.parametrize(
    "octets, reply",
    [
        ("999", "250 2.1.0"),
        ("1000", "250 2.1.0"),
        ("1001", "552 5.3.4"),
        ("9" * 20, "552 5.3.4"),
        ("0", "250 2.1.0"),
    ],
)
def test_declared_size_is_held_against_the_limit(octets, reply):
    assert greeted().send(f"MAIL FROM:<a@b> SIZE={octets}\r\n".encode()) == [reply]  # 23


def test_refused_mail_changes_nothing():
    driver = greeted()

    assert driver.send(b"MAIL FROM:<a@b> X\r\n", SENDER) == ["555 5.5.4", "250 2.1.0"]
    assert envelope_of(driver).sender_path == b"s@example.org"


# ---- RCPT


def test_recipient_is_offered_as_issued():
    driver = greeted()

    driver.send(SENDER, b"RCPT TO:<@x:User+Box@Example.NET> ORCPT=rfc822;a+2Bb\r\n")

    assert driver.events[-1] == RecipientOffered(
        Address("User+Box", "example.net"), b"@x:User+Box@Example.NET", {"ORCPT": b"rfc822;a+2Bb"}
    )


def test_same_recipient_twice_is_offered_twice():
    driver = addressed()  # 19

    assert driver.send(RECIPIENT, DATA, b".\r\n") == ["250 2.1.5", "354", "250 2.0.0", "250 2.0.0"]


@pytest.mark.parametrize("smtputf8, reply", [(b"", "553 5.6.7"), (b" SMTPUTF8", "250 2.1.5")])
def test_international_recipient_needs_smtputf8_of_mail(smtputf8, reply):
    driver = greeted()  # 66
    driver.send(b"MAIL FROM:<a@b>" + smtputf8 + b"\r\n")

    assert driver.send("RCPT TO:<ü@b>\r\n".encode()) == [reply]


def test_limit_of_recipients_counts_accepted_ones():
    driver = greeted()  # 24

    said = driver.send(SENDER + UNKNOWN * 9 + RECIPIENT * 4 + RECIPIENT + RECIPIENT + UNKNOWN)

    assert said[1:] == [*["550 5.1.1"] * 9, *["250 2.1.5"] * 5, *["452 4.5.3"] * 2]
    assert driver.send(DATA, b".\r\n") == ["354", *["250 2.0.0"] * 5]
    assert driver.send(SENDER, RECIPIENT) == ["250 2.1.0", "250 2.1.5"]


def test_refused_recipient_leaves_the_others():
    assert addressed().send(UNKNOWN, DATA, b".\r\n") == ["550 5.1.1", "354", "250 2.0.0"]


# ---- XFORWARD


def test_forwarded_attributes_belong_to_the_next_transaction():
    driver = greeted()  # 78

    said = driver.send(
        b"XFORWARD NAME=spike.example ADDR=192.0.2.1\r\nxforward ident=4bXyZ name=other\r\n", SENDER
    )

    assert said == ["250 2.0.0", "250 2.0.0", "250 2.1.0"]
    assert envelope_of(driver).forwarded == {"NAME": "other", "ADDR": "192.0.2.1", "IDENT": "4bXyZ"}


def test_what_becomes_unavailable_is_absent():
    driver = greeted()

    driver.send(b"XFORWARD NAME=a HELO=[TEMPUNAVAIL]\r\nXFORWARD NAME=[UNAVAILABLE] PORT=25\r\n", SENDER)

    assert envelope_of(driver).forwarded == {"PORT": "25"}


@pytest.mark.parametrize(
    "between",
    [
        b"RSET\r\n",
        CLIENT,
        SENDER + b"RSET\r\n",
        SENDER + RECIPIENT + DATA + b".\r\n",
        SENDER + RECIPIENT + b"BDAT 0 LAST\r\n",
        SENDER + b"BDAT 0 LAST\r\n",
    ],
)
def test_forwarded_attributes_end_with_the_transaction(between):
    driver = greeted()

    driver.send(b"XFORWARD NAME=a\r\n" + between + SENDER)

    assert envelope_of(driver).forwarded == {}


@pytest.mark.parametrize(
    "between", [b"MAIL FROM:<a b>\r\n", b"NOOP\r\n", b"XFORWARD NAME\r\n", b"MAIL FROM:<> X\r\n"]
)
def test_forwarded_attributes_survive_what_does_not_end_it(between):
    driver = greeted()

    driver.send(b"XFORWARD NAME=a\r\n" + between + SENDER)

    assert envelope_of(driver).forwarded == {"NAME": "a"}


@pytest.mark.parametrize(
    "start, reply", [(Driver, "503 5.5.1"), (addressed, "503 5.5.1"), (greeted, "250 2.0.0")]
)
def test_xforward_has_its_place(start, reply):
    assert start().send(b"XFORWARD NAME=a\r\n") == [reply]


@pytest.mark.parametrize("start", [Driver, greeted, addressed])
def test_xforward_from_strangers_is_refused(start):
    driver = start(dataclasses.replace(SETTINGS, xforward=False))  # 78

    assert driver.send(b"XFORWARD NAME=a\r\n") == ["550 5.7.0"]


def test_malformed_xforward_changes_nothing():
    driver = greeted()

    assert driver.send(b"XFORWARD NAME=a OTHER=b\r\n", SENDER) == ["501 5.5.4", "250 2.1.0"]
    assert envelope_of(driver).forwarded == {}


# ---- STARTTLS


def test_starttls_begins_anew():
    driver = greeted()

    assert driver.send(b"STARTTLS\r\n") == ["220 2.0.0"]
    assert driver.events == [TransactionDropped(), TlsRequested()]
    assert driver.send(SENDER) == ["503 5.5.1"]
    assert driver.send(CLIENT, SENDER) == ["250", "250 2.1.0"]
    assert envelope_of(driver).tls
    assert b"STARTTLS" not in driver.output.partition(b"220 ")[2]


def test_bytes_behind_starttls_are_thrown_away():
    session = Session(SETTINGS)  # 76; CVE-2011-0411, CVE-2021-33515
    session.receive(CLIENT + b"STARTTLS\r\nRSET\r\nMAIL FROM:<evil@example>\r\n")
    assert session.next_event() == TransactionDropped()
    assert session.next_event() == TransactionDropped()
    assert session.next_event() == TlsRequested()
    assert not session.has_input

    session.receive(b"RSET\r\n")  # in the clear, after it was accepted
    assert session.next_event() is None
    session.tls_started()

    assert session.next_event() is None
    assert session.take_output().endswith(b"\r\n220 2.0.0 Ready to start TLS\r\n")


@pytest.mark.parametrize("start", [Driver, addressed])
def test_starttls_before_lhlo_or_within_a_transaction(start):
    assert start().send(b"STARTTLS\r\n") == ["503 5.5.1"]  # 77


def test_starttls_under_tls():
    assert greeted(tls=True).send(b"STARTTLS\r\n") == ["503 5.5.1"]


def test_starttls_that_was_not_offered():
    driver = greeted(dataclasses.replace(SETTINGS, starttls=False))

    assert driver.send(b"STARTTLS\r\n") == ["502 5.5.1"]


def test_failed_handshake_can_be_ended():
    driver = Driver()
    driver.session.receive(CLIENT + b"STARTTLS\r\n")
    while not isinstance(driver.session.next_event(), TlsRequested):
        pass
    driver.session.take_output()

    driver.session.shut_down()

    assert driver.session.take_output() == replies.SHUTTING_DOWN.encode()


# ---- HELP tells the truth


def test_help_names_only_commands_that_exist():
    driver = greeted()
    driver.send(b"HELP\r\n")

    for verb in driver.output.split(b":")[0].split()[2:]:
        assert greeted().send(verb + b"\r\n") != ["500 5.5.1"]


def test_every_cut_of_forwarding_and_mail_gives_the_same():
    wire = b"XFORWARD NAME=a\r\nXFORWARD IDENT=b\r\n" + SENDER + RECIPIENT
    for pieces in every_cut(wire):
        driver = greeted()

        assert driver.send(*pieces) == ["250 2.0.0", "250 2.0.0", "250 2.1.0", "250 2.1.5"]
        assert driver.session.envelope is not None
        assert driver.session.envelope.forwarded == {"NAME": "a", "IDENT": "b"}
