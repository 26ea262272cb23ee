"""Log lines: the fields, and that nothing a peer wrote can leave its place."""

import json
import os
import shlex
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmtpd.report import formats
from lmtpd.report.formats import (
    VALUE_CHARACTERS,
    escaped,
    json_line,
    prefixed,
    report_fields,
    text_line,
    timestamp,
    untimed_text_line,
)
from lmtpd.report.records import Level, RecipientReport

AT = 1_795_510_800.1239  # 2026-11-24, in UTC 09:00:00.123

FULL = RecipientReport(
    at=AT,
    id="1f3a77c0000012",
    recipient="bob+x@example.net",
    outcome="deferred",
    reply="452 4.3.1 No space",
    sender="alice@example.org",
    queue_id="4XyZ12abc",
    message_id="<1@example.org>",
    original_recipient="info@example.net",
    maildir="/srv/mail/example.net/bob",
    folder="Lists/python",
    file="1764.M1P2Q3R4.mx,S=1,W=1",
    octets=3071,
    cause="disk_full",
    detail="[Errno 28] No space left",
    client="192.0.2.7:4711",
    helo="mx.example.org",
    tls=True,
    phases_ms={"stage": 0.42, "sync": 12.0},
)
BARE = RecipientReport(at=AT, id="1", recipient="bob", outcome="refused", reply="550 5.1.1 Unknown")


@pytest.fixture
def utc(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setattr(formats, "_clock", formats._Clock())  # it remembers a second with its zone
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def line(report):
    return untimed_text_line(report.at, report.outcome, report_fields(report))


def test_line_has_every_field_in_the_documented_order():
    assert line(FULL) == (
        "deferred queue_id=4XyZ12abc id=1f3a77c0000012 message_id=<1@example.org> from=<alice@example.org>"
        " to=<bob+x@example.net> orig_to=<info@example.net> maildir=/srv/mail/example.net/bob"
        ' folder=Lists/python file="1764.M1P2Q3R4.mx,S=1,W=1" octets=3071 reply="452 4.3.1 No space"'
        ' cause=disk_full detail="[Errno 28] No space left" client=192.0.2.7:4711 helo=mx.example.org'
        " tls=true stage_ms=0.42 sync_ms=12"
    )


def test_fields_without_a_value_are_left_out():
    assert line(BARE) == 'refused id=1 from=<> to=<bob> reply="550 5.1.1 Unknown"'


def test_zero_octets_are_a_value():
    report = RecipientReport(at=AT, id="1", recipient="b", outcome="delivered", reply="250", octets=0)

    assert " octets=0 " in line(report)


def test_json_line_has_the_same_fields(utc):
    values = json.loads(json_line(FULL.at, FULL.outcome, report_fields(FULL)))

    assert list(values)[:4] == ["at", "event", "queue_id", "id"]
    assert (values["at"], values["event"]) == ("2026-11-24T09:00:00.123+00:00", "deferred")
    assert (values["octets"], values["tls"], values["sync_ms"]) == (3071, True, 12.0)
    assert "folder" not in json.loads(json_line(BARE.at, BARE.outcome, report_fields(BARE)))


def test_time_is_local_with_its_offset(monkeypatch):
    for zone, expected in [
        ("UTC", "2026-11-24T09:00:00.123+00:00"),
        ("Europe/Berlin", "2026-11-24T10:00:00.123+01:00"),
        ("America/St_Johns", "2026-11-24T05:30:00.123-03:30"),
    ]:
        monkeypatch.setenv("TZ", zone)
        time.tzset()

        # Another second, so that the one before is not taken from memory.
        assert timestamp(AT + 1)[17:19] == "01"
        assert timestamp(AT) == expected

    monkeypatch.undo()
    time.tzset()


def test_text_line_begins_with_the_time(utc):
    assert text_line(AT, "started", [("pid", 7)]) == "2026-11-24T09:00:00.123+00:00 started pid=7"


def test_journal_prefix_is_the_priority():
    assert prefixed("deferred", Level.WARNING) == "<4>deferred"


@pytest.mark.parametrize("where", ["a{}b", "{}", "{}b", "a{}"])
def test_no_octet_of_a_peer_reaches_the_log_as_a_control(where):
    for octet in range(256):
        for character in (chr(octet), os.fsdecode(bytes([octet]))):
            value = where.format(character)
            fields = [("key", value), ("next", 1)]

            lines = [
                untimed_text_line(AT, "event", fields),
                text_line(AT, "event", fields),
                json_line(AT, "event", fields),
                escaped(value),
            ]

            assert all(text.isprintable() for text in lines), octet
            assert json.loads(lines[2])["key"] == value
            "".join(lines).encode()  # no lone surrogates


@pytest.mark.parametrize(
    "value, written",
    [
        ("plain", "plain"),
        ("a b", '"a b"'),
        ("a=b", '"a=b"'),
        ('a"b', '"a\\"b"'),
        ("a\\b", '"a\\\\b"'),
        ("a\r\nb\t", '"a\\r\\nb\\t"'),
        ("\0\x1b[31m\x7f", '"\\x00\\x1b[31m\\x7f"'),
        ("\x85\u2028\u202e", '"\\u0085\\u2028\\u202e"'),
        ("\udcff", '"\\xff"'),
        ("\ud800", '"\\ud800"'),
        ("\U000e0001", '"\\U000e0001"'),
        ("jürgen@exämple.org", '"jürgen@exämple.org"'),
        (True, "true"),
        (False, "false"),
        (0, "0"),
        (1.25, "1.25"),
    ],
)
def test_values_in_a_line(value, written):
    assert untimed_text_line(AT, "event", [("key", value)]) == f"event key={written}"


@given(st.text(alphabet=st.characters(max_codepoint=0x7E, min_codepoint=0x20), min_size=1))
def test_shell_like_splitting_gets_the_value_back(value):
    (word, pair) = shlex.split(untimed_text_line(AT, "event", [("key", value)]))

    assert (word, pair) == ("event", f"key={value}")


@pytest.mark.parametrize("surplus, is_cut", [(-1, False), (0, False), (1, True)])
def test_long_values_are_cut(surplus, is_cut):
    value = "x" * (VALUE_CHARACTERS + surplus)

    text = untimed_text_line(AT, "event", [("key", value)])

    assert len(text) == len("event key=") + min(len(value), VALUE_CHARACTERS)
    assert text.endswith("...") is is_cut
    assert json.loads(json_line(AT, "event", [("key", value)]))["key"].endswith("...") is is_cut


def test_no_value_breaks_the_line_into_two():
    report = RecipientReport(
        at=AT,
        id="1",
        recipient="a\nfaked",
        outcome="refused",
        reply="550 x\r\ny",
        helo="\n",
        detail="\x1b[2J",
    )

    assert "\n" not in line(report)
    assert "\\nfaked" in line(report)
