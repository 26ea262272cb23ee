"""Bugs of ours: reported, 451 for the recipients they hit, and the client is still in step."""

from contextlib import suppress

import pytest

from lmtpd.protocol import replies
from lmtpd.protocol.session import Session
from tests.support.driving import Driven, Script


def explode(*_: object) -> None:
    raise ZeroDivisionError


def test_a_bug_at_rcpt_is_451_for_that_recipient():
    def offer(event):
        if event.path.startswith(b"bad"):
            explode()
        return replies.RECIPIENT_OK

    with Driven(script=Script(offer=offer)) as driven:
        driven.client.greet()

        found = driven.client.deliver("me@example.org", ["a@b.org", "bad@b.org", "c@b.org"], b"hi\r\n")

        assert [reply.code for reply in found] == [250, 451, 250]
        assert isinstance(driven.service.reporter.bugs[0], ZeroDivisionError)


@pytest.mark.parametrize("where", ["write", "at_barrier", "at_publish"])
def test_a_bug_in_the_delivery_is_451_for_all(where):
    script = Script()
    setattr(script, where, explode)
    with Driven(script=script) as driven:
        driven.client.greet()

        found = driven.client.deliver("me@example.org", ["a@b.org", "c@d.org"], b"hi\r\n")

        assert [reply.code for reply in found] == [451, 451]
        assert driven.client.command("NOOP").code == 250
        assert driven.log[-2:] == ["dropped", "released"]
        assert driven.service.reporter.bugs


def test_a_bug_between_two_replies_is_451_for_the_rest():
    def ask(number: int) -> None:
        if number == 1:
            explode()

    with Driven(script=Script(at_reply=ask)) as driven:
        driven.client.greet()

        found = driven.client.deliver("me@example.org", ["a@b.org", "c@d.org", "e@f.org"], b"hi\r\n")

        assert [reply.code for reply in found] == [250, 451, 451]
        assert "confirmed" not in driven.log


def test_a_reply_too_few_is_a_bug_and_made_up_for():
    with Driven(script=Script(too_few=True)) as driven:
        driven.client.greet()

        found = driven.client.deliver("me@example.org", ["a@b.org", "c@d.org"], b"hi\r\n")

        assert [reply.code for reply in found] == [250, 451]
        assert driven.service.reporter.bugs


def test_a_bug_at_data_is_451():
    with Driven(script=Script(open_body=explode)) as driven:  # type: ignore[arg-type]  # it never returns
        driven.client.greet()
        driven.client.envelope("me@example.org", ["you@example.org"])

        assert driven.client.command("DATA").code == 451
        assert driven.client.command("NOOP").code == 250


def test_a_bug_at_mail_is_451_for_each_recipient(monkeypatch):
    with Driven() as driven:
        monkeypatch.setattr(driven.connection, "_begin", explode)
        driven.client.greet()

        (answer,) = driven.client.envelope("me@example.org", ["you@example.org"])

        assert answer.code == 451
        assert driven.client.command("DATA").code == 503


def test_a_bug_of_the_session_ends_the_connection_and_leaves_nothing_behind(monkeypatch):
    with Driven() as driven:
        driven.say_body()
        monkeypatch.setattr(Session, "next_event", explode)

        with suppress(BrokenPipeError):  # if the body was still under way
            driven.client.send(b"more")

        assert driven.ended() == ["dropped"]
        assert isinstance(driven.rises[0], ZeroDivisionError)
        assert driven.client.rest() == b""


def test_a_bug_in_a_drop_is_reported(monkeypatch):
    with Driven() as driven:
        driven.say_body()
        monkeypatch.setattr(driven.transactions[0], "drop", explode)

        driven.client.close()

        driven.ended()
        assert driven.service.reporter.bugs
        assert driven.server.fileno() == -1
