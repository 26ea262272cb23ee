"""The proof that a client has read its replies: what confirms a delivery, and what only looks like it."""

import socket

import pytest

from lmtpd.delivery.service import Commit
from lmtpd.server import barrier
from lmtpd.server import connection as connection_module
from lmtpd.server import stream as stream_module
from lmtpd.server.proof import WAITING_TRANSACTIONS
from tests.support.driving import DELIVERED, Driven, Script, tls_driven
from tests.support.polling import wait_for
from tests.support.sockets import TRANSPORTS, reset

CHUNK = b"MAIL FROM:<>\r\nRCPT TO:<user@example.org>\r\nBDAT 4 LAST\r\nhi\r\n"


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    monkeypatch.setattr(stream_module, "QUICK_S", 0.02)
    monkeypatch.setattr(stream_module, "CLOSE_NOTIFY_S", 0.05)


@pytest.fixture(params=TRANSPORTS)
def driven(request):
    with Driven(request.param) as driven:
        yield driven


def deliver(driven: Driven, *, behind: bytes = b"", recipients: int = 1) -> None:
    """Send a message, with whatever is in the same segment as its end; read its replies and no byte more."""
    driven.say_body(recipients=recipients)
    driven.client.send(b".\r\n" + behind)
    expected = DELIVERED.encode() * recipients
    assert b"".join(driven.client.socket.recv(1) for _ in expected) == expected


# -- a command is a proof


@pytest.mark.parametrize("command", ["NOOP", "RSET", "MAIL FROM:<>", "QUIT", "nonsense"])
def test_a_command_behind_the_reply_confirms(driven, command):
    deliver(driven)

    driven.client.command(command)

    driven.client.close()
    assert driven.ended()[:2] == ["published", "confirmed"]


def test_nothing_confirms_while_nothing_comes(driven):
    deliver(driven)

    assert driven.log == ["published"]


def test_each_message_is_confirmed_by_the_next(driven):
    deliver(driven)
    for _ in range(3):
        driven.open_transaction()
        driven.client.send(b".\r\n")
        assert driven.client.reply().code == 250

    assert driven.log == ["published", "confirmed"] * 3 + ["published"]


def test_a_command_that_is_sent_byte_by_byte_confirms_with_its_first_byte(driven):
    deliver(driven)

    driven.client.send(b"N")

    wait_for(lambda: "confirmed" in driven.log, "the confirmation")


def test_half_a_command_behind_the_dot_takes_the_proof_from_its_rest(driven):
    deliver(driven, behind=b"NO")

    assert driven.client.command("OP").code == 250
    assert "confirmed" not in driven.log

    driven.client.command("NOOP")
    assert "confirmed" in driven.log


# -- a QUIT that came with the dot, or before the last reply, is none; the orderly end behind 221 is


def together(driven: Driven) -> None:
    deliver(driven, behind=b"QUIT\r\n")


def while_it_is_staged(driven: Driven) -> None:
    driven.script.at_barrier = lambda: driven.client.send(b"QUIT\r\n")
    deliver(driven)


def while_it_is_published(driven: Driven) -> None:
    driven.script.at_publish = lambda: driven.client.send(b"QUIT\r\n")
    deliver(driven)


def before_the_last_reply(driven: Driven) -> None:
    driven.script.at_reply = lambda number: driven.client.send(b"QUIT\r\n") if number == 1 else None
    deliver(driven, recipients=2)


EARLY_QUITS = pytest.mark.parametrize(
    "quit_early", [together, while_it_is_staged, while_it_is_published, before_the_last_reply]
)


@EARLY_QUITS
def test_an_early_quit_and_an_orderly_end_confirm(driven, quit_early):
    quit_early(driven)

    assert driven.client.reply().code == 221
    assert "confirmed" not in driven.log
    driven.client.close()

    assert driven.ended() == ["published", "confirmed"]


@EARLY_QUITS
def test_an_early_quit_and_a_kill_do_not(driven, quit_early):
    quit_early(driven)

    # 221 is there, and unread: a close is a reset then.
    wait_for(lambda: driven.client.socket.recv(1, socket.MSG_PEEK), "the 221")
    driven.client.close()

    assert driven.ended() == ["published", "released"]


@EARLY_QUITS
def test_an_early_quit_and_no_end_do_not(driven, quit_early, monkeypatch):
    monkeypatch.setattr(connection_module, "FAREWELL_S", 0.05)
    quit_early(driven)

    assert driven.client.reply().code == 221

    assert driven.ended() == ["published", "released"]


def test_we_end_our_side_behind_221_without_waiting_for_theirs(driven):
    deliver(driven, behind=b"QUIT\r\n")

    assert driven.client.rest() == b"221 2.0.0 Bye\r\n"


# -- other ends are none


@pytest.mark.parametrize("leave", [socket.socket.close, reset])
def test_a_connection_that_ends_without_quit_is_no_proof(driven, leave):
    deliver(driven)

    leave(driven.client.socket)

    assert driven.ended() == ["published", "released"]


def test_an_end_before_the_replies_is_no_proof():
    with Driven("unix") as driven:
        driven.script.at_publish = driven.client.half_close
        deliver(driven, behind=b"QUIT\r\n")
        assert driven.client.reply().code == 221

        driven.client.close()

        assert driven.ended() == ["published", "released"]


@pytest.mark.parametrize("at", ["at_publish", "at_reply"])
def test_an_end_behind_the_barrier_is_no_proof(driven, at):
    """On TCP the replies of a client that has gone are sent without an error: the first send always works."""
    driven.say_body()
    setattr(driven.script, at, lambda *_: driven.client.close())

    driven.client.send(b".\r\nQUIT\r\n")

    assert driven.ended() == ["published", "released"]


def test_a_client_lost_between_two_replies_gets_its_other_copies_all_the_same(driven):
    driven.say_body(recipients=3)
    asked = []

    def ask(number: int) -> None:
        asked.append(number)
        if number == 1:
            reset(driven.client.socket)

    driven.script.at_reply = ask

    driven.client.send(b".\r\n")

    assert driven.ended() == ["published", "released"]
    assert asked == [0, 1, 2]


def test_silence_is_no_proof():
    with Driven(idle_s=0.05) as driven:
        deliver(driven)

        assert driven.client.reply().code == 421

        assert driven.ended() == ["published", "released"]


def test_the_end_of_the_server_is_no_proof(driven):
    deliver(driven)

    driven.drain.begin(5)

    assert driven.client.reply().code == 421
    assert driven.ended() == ["published", "released"]


# -- pipelining


def test_a_message_pipelined_behind_the_dot_does_not_confirm_the_first(driven):
    again = b"RSET\r\nMAIL FROM:<>\r\nRCPT TO:<user@example.org>\r\nDATA\r\n"
    deliver(driven, behind=again)
    assert [reply.code for reply in driven.client.replies(4)] == [250, 250, 250, 354]
    driven.client.send(b"hi\r\n.\r\n")
    assert driven.client.reply().code == 250
    assert driven.log.count("published") == 2
    assert "confirmed" not in driven.log

    driven.client.command("NOOP")

    assert driven.log[-2:] == ["confirmed", "confirmed"]


def test_a_client_that_never_waits_proves_nothing(driven):
    driven.client.greet()
    driven.client.send(CHUNK * (WAITING_TRANSACTIONS + 3) + b"QUIT\r\n")

    assert {reply.code for reply in driven.client.replies(3 * (WAITING_TRANSACTIONS + 3))} == {250}
    assert driven.client.reply().code == 221
    assert driven.log.count("released") == 3
    driven.client.close()
    assert driven.ended().count("confirmed") == WAITING_TRANSACTIONS


def test_more_ahead_than_is_looked_at_leaves_the_message_unproven(driven, monkeypatch):
    monkeypatch.setattr(barrier, "AHEAD_OCTETS", 12)
    driven.script.at_publish = lambda: driven.client.send(b"NOOP\r\n" * 3)
    deliver(driven)

    wait_for(lambda: driven.log == ["published", "released"], "the release")
    assert [reply.code for reply in driven.client.replies(3)] == [250] * 3


# -- TLS


def test_a_command_confirms_under_tls():
    with tls_driven() as driven:
        driven.open_transaction()
        driven.client.send(b".\r\n")
        assert driven.client.reply().code == 250

        driven.client.command("NOOP")

        assert driven.log == ["published", "confirmed"]


@pytest.mark.parametrize("leave", [lambda client: client.unwrap().close(), socket.socket.close])
def test_a_quit_with_the_dot_and_an_orderly_end_confirm_under_tls(leave):
    with tls_driven() as driven:
        driven.open_transaction()
        driven.client.send(b".\r\nQUIT\r\n")
        assert [reply.code for reply in driven.client.replies(2)] == [250, 221]

        leave(driven.client.socket)

        assert driven.ended() == ["published", "confirmed"]


# -- hold


def test_what_is_held_is_concluded_before_it_is_confirmed():
    with Driven(commit=Commit.HOLD, script=Script()) as driven:
        deliver(driven)
        driven.client.command("QUIT")
        driven.client.close()

        # The real transaction has nothing to confirm before it is concluded, and confirms itself then.
        assert [word for word in driven.ended() if word != "confirmed"] == ["concluded"]
