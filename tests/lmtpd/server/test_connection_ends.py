"""The ends of a connection that are not QUIT, and what becomes of held mail then."""

import itertools
import select
import time

import pytest

from lmtpd.delivery.service import Commit
from lmtpd.server import stream as stream_module
from lmtpd.server.drain import Drain
from tests.support.driving import Driven, Script
from tests.support.sockets import TRANSPORTS, reset


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    monkeypatch.setattr(stream_module, "QUICK_S", 0.02)


def explode(*_: object) -> None:
    raise ZeroDivisionError


# -- silence


def test_a_silent_client_gets_421():
    with Driven(idle_s=0.05) as driven:
        driven.client.greet()

        reply = driven.client.reply()

        assert (reply.code, reply.status) == (421, "4.4.2")
        assert driven.client.rest() == b""


@pytest.mark.parametrize("sent", [b"", b"half a line", b"hi\r\n."])
def test_silence_in_the_body_drops_the_transaction(sent):
    with Driven(idle_s=0.05) as driven:
        driven.say_body(sent)

        assert driven.client.reply().code == 421

        assert driven.ended() == ["timed out", "dropped"]


def drip(driven: Driven, data: bytes) -> None:
    """Send octet by octet, much more often than the limit on silence asks for, until there is an answer."""
    for octet in itertools.cycle(data):
        if select.select([driven.client.socket], [], [], 0.01)[0]:
            return
        driven.client.send(bytes([octet]))


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_body_that_drips_ends_with_421(transport):
    with Driven(transport, idle_s=0.2, min_octets_per_s=10_000) as driven:
        driven.say_body(b"")

        drip(driven, b"drip\r\n")
        reply = driven.client.reply()

        assert (reply.code, reply.status) == (421, "4.4.2")
        assert driven.ended() == ["timed out", "dropped"]


def test_chunks_that_drip_end_with_421():
    with Driven(idle_s=0.2, min_octets_per_s=10_000) as driven:
        driven.client.greet()
        driven.client.envelope("me@example.org", ["you@example.org"])

        while not select.select([driven.client.socket], [], [], 0.01)[0]:
            assert driven.client.command("BDAT 0").code == 250

        assert driven.client.reply().code == 421


def test_a_command_that_drips_ends_with_421():
    with Driven(idle_s=0.2, min_octets_per_s=10_000) as driven:
        driven.client.greet()

        drip(driven, b"x")

        assert driven.client.reply().code == 421


def test_a_client_that_keeps_up_may_take_longer_than_the_window():
    with Driven(idle_s=0.2, min_octets_per_s=1) as driven:
        driven.say_body(b"")
        deadline = time.monotonic() + 0.5
        while time.monotonic() < deadline:
            assert not select.select([driven.client.socket], [], [], 0.01)[0]
            driven.client.send(b"keeps up\r\n")

        driven.client.send(b".\r\n")

        assert driven.client.reply().code == 250


def test_a_client_that_asks_slowly_and_often_is_not_hurried():
    with Driven(idle_s=0.2, min_octets_per_s=10_000) as driven:
        driven.client.greet()
        deadline = time.monotonic() + 0.5
        while time.monotonic() < deadline:
            assert driven.client.command("NOOP").code == 250


def test_last_words_are_not_lost_over_unread_input(monkeypatch):
    # Ten bad commands are answered, the next ends the session with input still unread.
    with Driven("tcp") as driven:
        driven.client.greet()
        driven.client.send(b"nonsense\r\n" * 10_000)

        driven.client.half_close()

        assert driven.client.rest().endswith(b"421 4.7.0 Too many bad commands, closing\r\n")


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_client_that_never_reads_is_cut(transport):
    with Driven(transport, idle_s=0.1) as driven:
        driven.client.socket.settimeout(0.2)
        with pytest.raises(OSError):
            while True:
                driven.client.send(b"HELP\r\n" * 10_000)

        driven.ended()
        assert not driven.rises


# -- the drain


def test_an_idle_client_goes_at_once():
    with Driven(idle_s=60) as driven:
        driven.client.greet()

        driven.drain.begin(60)

        reply = driven.client.reply()
        assert (reply.code, reply.status) == (421, "4.3.2")
        driven.ended()


def test_who_waited_in_the_backlog_is_still_served():
    drain = Drain()
    drain.begin(60)
    with Driven(drain=drain) as driven:
        driven.client.greet()
        (reply,) = driven.client.deliver("me@example.org", ["you@example.org"], b"hi\r\n")

        assert reply.code == 250
        assert driven.client.reply().code == 421


def test_a_busy_client_goes_when_it_is_idle():
    script = Script()
    with Driven(script=script) as driven:
        driven.say_body(recipients=2)
        script.at_barrier = lambda: driven.drain.begin(60)

        driven.client.send(b".\r\n")

        assert [reply.code for reply in driven.client.replies(3)] == [250, 250, 421]
        assert driven.ended()[0] == "published"


def test_a_client_that_is_never_idle_goes_between_two_transactions():
    script = Script()
    with Driven(script=script) as driven:
        driven.say_body()
        script.at_barrier = lambda: driven.drain.begin(0)  # pressing at once

        driven.client.send(b".\r\n")

        assert [reply.code for reply in driven.client.replies(2)] == [250, 421]
        assert driven.ended()[0] == "published"


def test_every_dot_already_received_gets_its_reply():
    message = b"MAIL FROM:<>\r\nRCPT TO:<you@example.org>\r\nBDAT 4 LAST\r\nhi\r\n"
    script = Script()
    with Driven(script=script) as driven:
        driven.client.greet()
        script.at_barrier = lambda: driven.drain.begin(60)

        driven.client.send(message * 3)

        assert [reply.code for reply in driven.client.replies(10)] == [250] * 9 + [421]


@pytest.mark.parametrize("body", [None, b"", b"hi\r\n"])
def test_an_open_transaction_may_end_within_the_drain(body):
    with Driven() as driven:
        if body is None:
            driven.client.greet()
            driven.client.envelope("me@example.org", ["you@example.org"])
        else:
            driven.say_body(body)
        driven.drain.begin(60)
        assert driven.client.surplus() == b""

        if body is None:
            assert driven.client.command("DATA").code == 354
        driven.client.send(b".\r\n")

        assert [reply.code for reply in driven.client.replies(2)] == [250, 421]


def test_an_open_transaction_that_does_not_end_is_dropped():
    with Driven(idle_s=60) as driven:
        driven.say_body()

        driven.drain.begin(0.1)

        assert driven.client.reply().code == 421
        assert driven.ended() == ["dropped"]


# -- hold


@pytest.fixture
def held():
    """A connection whose message was answered 250 and is held."""
    with Driven(commit=Commit.HOLD, idle_s=0.2) as driven:
        driven.say_body()
        driven.client.send(b".\r\n")
        assert driven.client.reply().code == 250
        assert driven.log == []
        yield driven


@pytest.mark.parametrize("command", ["QUIT", "MAIL FROM:<>"])
def test_quit_and_mail_publish(held, command):
    assert held.client.command(command).code in (221, 250)

    assert "concluded" in held.log


@pytest.mark.parametrize("command", ["RSET", "LHLO again"])
def test_rset_and_lhlo_discard(held, command):
    assert held.client.command(command).code == 250

    held.client.close()
    assert held.ended() == ["confirmed", "dropped"]


@pytest.mark.parametrize("command", ["NOOP", "nonsense", "VRFY you", "RCPT TO:<you@example.org>"])
def test_other_commands_do_neither(held, command):
    held.client.command(command)

    assert not {"concluded", "dropped"} & set(held.log)


@pytest.mark.parametrize("leave", [lambda client: client.close(), reset])
def test_a_lost_connection_discards(held, leave):
    leave(held.client.socket)

    assert "dropped" in held.ended()
    assert "concluded" not in held.log


def test_what_we_end_ourselves_is_published(held):
    assert held.client.reply().code == 421  # silence

    assert "concluded" in held.ended()


def test_a_bug_in_the_conclusion_is_reported_and_221_is_sent(held):
    held.script.conclude = explode

    assert held.client.command("QUIT").code == 221

    held.client.close()
    held.ended()
    assert isinstance(held.service.reporter.bugs[0], ZeroDivisionError)
