"""The driver: what is read and written when, and who is asked what."""

import pytest

from lmtpd.protocol import replies
from lmtpd.server.connection import BODY_OCTETS, COMMAND_OCTETS, LARGE_BODY_OCTETS
from lmtpd.server.stream import Stream
from tests.support.driving import Driven, Script, tls_driven
from tests.support.lmtp_client import stuffed
from tests.support.sockets import TRANSPORTS, tls_contexts

GROUP = b"MAIL FROM:<>\r\nRCPT TO:<a@example.org>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n"


@pytest.fixture
def calls(monkeypatch):
    """What was done to the socket, in order: noted before the client can know of it."""
    done: list[tuple[str, int]] = []

    def note(name):
        method = getattr(Stream, name)

        def noting(self, *given, **named):
            size = given[0] if given and isinstance(given[0], int) else len(given[0]) if given else 0
            if name == "send":
                done.append((name, size))
                return method(self, *given, **named)
            result = method(self, *given, **named)
            done.append((name, size))
            return result

        monkeypatch.setattr(Stream, name, noting)

    for name in ("receive", "receive_arrived", "look", "send"):
        note(name)
    return done


def names(calls: list[tuple[str, int]]) -> list[str]:
    return [name for name, _ in calls]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_message_goes_through(transport):
    with Driven(transport) as driven:
        driven.client.greet()

        answers = driven.client.deliver(
            "me@example.org", ["a@example.org", "b@example.org"], b"hi\r\n.dot\r\n"
        )

        assert [reply.code for reply in answers] == [250, 250]
        assert driven.transactions[0].body == b"hi\r\n.dot\r\n"
        driven.client.quit()
        assert driven.ended() == ["published", "confirmed"]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_message_sent_byte_by_byte_goes_through(transport):
    with Driven(transport) as driven:
        driven.client.reply()
        for octet in b"LHLO x\r\n" + GROUP + b"hi\r\n.\r\nQUIT\r\n":
            driven.client.send(bytes([octet]))

        assert [reply.code for reply in driven.client.replies(8)] == [250, 250, 250, 250, 354, 250, 250, 221]


@pytest.mark.parametrize("octets", [100_000, 900_000])
def test_a_large_body_goes_through(octets):
    body = b"x" * 70 + b"\r\n"
    body *= octets // len(body)
    with Driven("tcp") as driven:
        driven.client.greet()

        (reply,) = driven.client.deliver("me@example.org", ["you@example.org"], body)

        assert reply.code == 250
        assert driven.transactions[0].body == body


def test_a_body_over_the_limit_is_refused_for_each_recipient():
    with Driven() as driven:
        driven.client.greet()

        answers = driven.client.deliver("me@example.org", ["a@b.org", "c@d.org"], b"x" * 1_000_000 + b"\r\n")

        assert [reply.code for reply in answers] == [552, 552]
        assert driven.client.command("NOOP").code == 250


# -- when bytes are read and written


def test_one_recv_and_one_send_for_each_command_of_a_client_that_waits(calls):
    with Driven() as driven:
        driven.client.greet()
        for command in ("MAIL FROM:<>", "RCPT TO:<you@example.org>", "DATA"):
            del calls[:]

            driven.client.command(command)

            assert names(calls) == ["receive", "send"]


def test_the_replies_of_a_pipelined_group_leave_together(calls):
    with Driven() as driven:
        driven.client.greet()
        del calls[:]

        driven.client.send(GROUP)

        assert [reply.code for reply in driven.client.replies(4)] == [250, 250, 250, 354]
        assert names(calls).count("send") == 1


def test_each_final_reply_leaves_alone_and_only_when_it_is_final(calls):
    seen = []
    script = Script(at_reply=lambda number: seen.append(names(calls).count("send")))
    with Driven(script=script) as driven:
        driven.say_body(recipients=3)
        del calls[:]

        driven.client.send(b".\r\nQUIT\r\n")

        assert [reply.code for reply in driven.client.replies(4)] == [250, 250, 250, 221]
        assert seen == [0, 1, 2]


def test_what_is_pending_leaves_before_a_delivery_that_may_take_long(calls):
    sent = []
    script = Script(at_barrier=lambda: sent.append(names(calls).count("send")))
    with Driven(script=script) as driven:
        driven.client.greet()
        del calls[:]

        driven.client.send(b"MAIL FROM:<>\r\nRCPT TO:<a@example.org>\r\nBDAT 4\r\nhi\r\nBDAT 0 LAST\r\n")

        assert [reply.code for reply in driven.client.replies(4)] == [250] * 4
        assert sent == [1]


def test_a_message_costs_two_looks_at_the_client_and_no_failing_recv(calls):
    with Driven() as driven:
        driven.say_body()
        del calls[:]

        driven.client.send(b".\r\n")

        driven.client.reply()
        assert names(calls) == ["receive", "look", "look", "send"]


def test_buffers_grow_with_the_body_and_shrink_behind_it(calls):
    with Driven() as driven:
        driven.say_body(b"x" * 300_000)
        driven.client.send(b"\r\n.\r\n")
        driven.client.reply()
        driven.client.command("NOOP")
        driven.open_transaction()

        sizes = [size for name, size in calls if name == "receive"]
        assert sizes[0] == COMMAND_OCTETS
        assert LARGE_BODY_OCTETS in sizes
        driven.client.send(b".\r\n")
        driven.client.reply()
        sizes = [size for name, size in calls if name == "receive"]
        assert sizes[-1] == BODY_OCTETS


# -- who is asked what


def test_each_recipient_has_its_own_answer():
    answers = iter(
        [replies.RECIPIENT_OK, replies.MAILBOX_UNKNOWN, replies.LOOKUP_FAILED, replies.RECIPIENT_OK]
    )
    with Driven(script=Script(offer=lambda event: next(answers))) as driven:
        driven.client.greet()

        found = driven.client.deliver("me@example.org", [f"{n}@example.org" for n in range(4)], b"hi\r\n")

        assert [reply.code for reply in found] == [250, 550, 451, 250]


def test_a_body_can_be_refused_before_it_is_sent():
    with Driven(script=Script(open_body=lambda: replies.LOCAL_ERROR)) as driven:
        driven.client.greet()
        driven.client.envelope("me@example.org", ["you@example.org"])

        assert driven.client.command("DATA").code == 451
        assert driven.client.command("RSET").code == 250
        assert driven.log == ["dropped"]


@pytest.mark.parametrize("command, code", [("RSET", 250), ("LHLO again", 250), ("QUIT", 221)])
def test_an_open_transaction_is_dropped(command, code):
    with Driven() as driven:
        driven.client.greet()
        driven.client.envelope("me@example.org", ["you@example.org"])

        assert driven.client.command(command).code == code

        driven.client.close()
        assert driven.ended() == ["dropped"]


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("sent", [b"", b"hi", b"hi\r\n.", b"hi\r\n.\r"])
def test_a_connection_lost_in_the_body_drops_the_transaction(transport, sent):
    with Driven(transport) as driven:
        driven.say_body(sent)

        driven.client.close()

        assert driven.ended() == ["dropped"]
        assert not driven.rises


def test_too_many_connections_are_451_for_each_recipient_while_it_lasts():
    crowd = [True, True, False]
    with Driven(is_crowded=lambda: crowd.pop(0)) as driven:
        driven.client.greet()
        for _ in range(2):
            (refused,) = driven.client.envelope("me@example.org", ["you@example.org"])
            assert (refused.code, refused.status) == (451, "4.3.2")
            assert driven.client.command("DATA").code == 503
            assert driven.client.command("RSET").code == 250
        assert not driven.transactions

        (accepted,) = driven.client.deliver("me@example.org", ["you@example.org"], b"hi\r\n")

        assert accepted.code == 250


# -- TLS


def test_a_message_goes_through_under_tls():
    body = b"." + b"x" * 200_000 + b"\r\n"
    with tls_driven() as driven:
        (reply,) = driven.client.deliver("me@example.org", ["you@example.org"], body)

        assert reply.code == 250
        assert driven.transactions[0].body == body
        assert stuffed(body) != body
        driven.client.quit()


def test_a_handshake_that_fails_ends_the_connection_quietly():
    with Driven("tcp") as driven:
        driven.client.greet()
        assert driven.client.command("STARTTLS").code == 220

        driven.client.send(b"MAIL FROM:<>\r\n")

        driven.ended()
        assert not driven.rises
        assert not driven.service.reporter.bugs


def test_commands_behind_starttls_are_not_obeyed():
    with Driven("tcp") as driven:
        driven.client.greet()
        driven.client.send(b"STARTTLS\r\nMAIL FROM:<>\r\n")
        driven.client.reply()

        driven.client.socket = tls_contexts()[1].wrap_socket(
            driven.client.socket, server_hostname="localhost"
        )
        driven.client.lhlo()

        assert driven.client.command("RCPT TO:<you@example.org>").code == 503
