"""Events as JSON."""

import json

from lmtpd.events.document import composed, delivered, identified, identity


def test_what_is_not_known_is_left_out_and_zero_is_known():
    event = json.loads(
        composed("refused", "a@x", 1.23456, {"reply": "550", "cause": "", "client": None, "octets": 0})
    )

    assert event == {
        "version": 1,
        "kind": "refused",
        "at": 1.235,
        "mailbox": "a@x",
        "reply": "550",
        "octets": 0,
    }


def test_a_delivery_is_known_by_its_file():
    event = composed("delivered", "a@x", 1.0, {})

    first, again = delivered(event, "/mail/a", "1.x"), delivered(event, "/mail/a", "1.x")

    assert first == again
    assert json.loads(first)["id"] == identity("/mail/a", "1.x")
    assert json.loads(delivered(event, "/mail/b", "1.x"))["id"] != json.loads(first)["id"]
    assert (json.loads(first)["maildir"], json.loads(first)["file"]) == ("/mail/a", "1.x")


def test_an_event_is_one_line_of_ascii_whatever_it_tells():
    event = identified(composed("refused", "j\u00fcrgen@x\n", 1.0, {"reply": "\ud800\r\n\x00"}), "1")

    assert event.isascii()
    assert "\n" not in event
    assert json.loads(event)["mailbox"] == "j\u00fcrgen@x\n"
    assert len(identity("\ud800")) == 32
