"""The barrier: what a client did between its dot and the publication, for each policy and each transport."""

import socket
import threading

import pytest

from lmtpd.delivery.service import Commit
from tests.support.driving import JOIN_S, Driven, Script, tls_driven
from tests.support.polling import wait_for
from tests.support.sockets import TRANSPORTS, reset

ACTS = {
    "nothing": lambda client: None,
    "RSET": lambda client: client.sendall(b"RSET\r\n"),
    "NOOP, RSET": lambda client: client.sendall(b"NOOP\r\nRSET\r\n"),
    "RSET, MAIL": lambda client: client.sendall(b"RSET\r\nMAIL FROM:<>\r\n"),
    "QUIT": lambda client: client.sendall(b"QUIT\r\n"),
    "close": lambda client: client.close(),
    "half-close": lambda client: client.shutdown(socket.SHUT_WR),
    "QUIT, close": lambda client: (client.sendall(b"QUIT\r\n"), client.close()),
    "QUIT, half-close": lambda client: (client.sendall(b"QUIT\r\n"), client.shutdown(socket.SHUT_WR)),
    "RSET, half-close": lambda client: (client.sendall(b"RSET\r\n"), client.shutdown(socket.SHUT_WR)),
    "reset": reset,
}
# What becomes of the message: on TCP and on a unix socket, under `checked` and under `cancel`.
EXPECTED = {
    "nothing": ("published", "published", "published", "published"),
    "RSET": ("published", "published", "cancelled", "cancelled"),
    "NOOP, RSET": ("published", "published", "cancelled", "cancelled"),
    "RSET, MAIL": ("published", "published", "published", "published"),
    "QUIT": ("published", "published", "published", "published"),
    "close": ("gone", "gone", "gone", "gone"),
    "half-close": ("gone", "published", "gone", "published"),
    "QUIT, close": ("gone", "gone", "gone", "gone"),
    "QUIT, half-close": ("gone", "published", "gone", "published"),
    "RSET, half-close": ("gone", "published", "gone", "cancelled"),
    "reset": ("gone", "gone", "gone", "gone"),
}
CASES = [
    (act, transport, commit, outcomes[place])
    for act, outcomes in EXPECTED.items()
    for place, (commit, transport) in enumerate(
        (commit, transport) for commit in (Commit.CHECKED, Commit.CANCEL) for transport in ("tcp", "unix")
    )
]


@pytest.mark.parametrize("act, transport, commit, outcome", CASES)
def test_barrier(act, transport, commit, outcome):
    script = Script()
    with Driven(transport, commit=commit, script=script) as driven:
        driven.say_body()
        script.at_barrier = lambda: ACTS[act](driven.client.socket)

        driven.client.send(b".\r\n")

        if "close" in act or act == "reset":
            driven.ended()
        else:
            codes = {"published": 250, "cancelled": 451}
            assert driven.client.reply().code == codes[outcome]
        assert driven.log[0] == outcome


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("act", ACTS)
def test_immediate_asks_nobody(transport, act):
    script = Script()
    with Driven(transport, commit=Commit.IMMEDIATE, script=script) as driven:
        driven.say_body()
        script.at_barrier = lambda: ACTS[act](driven.client.socket)

        driven.client.send(b".\r\nQUIT\r\n")
        wait_for(lambda: driven.log, "the delivery")
        driven.client.close()

        assert driven.log[0] == "published"


@pytest.mark.parametrize("commit", [Commit.CHECKED, Commit.CANCEL])
@pytest.mark.parametrize(
    "behind, outcome",
    [
        (b"", "published"),
        (b"RSET\r\n", "cancel"),
        (b"RSET", "published"),
        (b"QUIT\r\n", "published"),
        (b"NOOP\r\nrset \r\nNOOP\r\n", "cancel"),
        (b"RSET\r\nMAIL FROM:<>\r\n", "published"),
    ],
)
def test_what_came_in_one_segment_with_the_dot_counts_too(commit, behind, outcome):
    with Driven(commit=commit) as driven:
        driven.say_body()

        driven.client.send(b".\r\n" + behind)

        cancelled = outcome == "cancel" and commit is Commit.CANCEL
        assert driven.client.reply().code == (451 if cancelled else 250)


@pytest.mark.parametrize("commit", [Commit.CHECKED, Commit.CANCEL])
def test_what_was_read_at_the_barrier_is_answered_in_order(commit):
    script = Script()
    with Driven(commit=commit, script=script) as driven:
        driven.say_body(recipients=2)
        script.at_barrier = lambda: driven.client.send(b"RSET\r\nMAIL FROM:<you@example.org>\r\n")

        driven.client.send(b".\r\n")

        assert [reply.text for reply in driven.client.replies(4)] == [
            "2.0.0 Saved",
            "2.0.0 Saved",
            "2.0.0 OK",
            "2.1.0 Sender OK",
        ]


def test_the_451_is_still_sent_to_a_client_that_seems_gone():
    script = Script()
    with Driven("tcp", script=script) as driven:
        driven.say_body(recipients=2)
        script.at_barrier = driven.client.half_close

        driven.client.send(b".\r\n")

        assert [reply.text for reply in driven.client.replies(2)] == ["4.4.2 You had gone, not delivered"] * 2


def test_a_half_closed_client_of_a_unix_socket_reads_its_replies():
    with Driven("unix") as driven:
        driven.say_body(recipients=2)

        driven.client.send(b".\r\nQUIT\r\n")
        driven.client.half_close()

        assert [reply.code for reply in driven.client.replies(3)] == [250, 250, 221]
        assert driven.client.rest() == b""


# -- TLS


def close_notify(client: socket.socket) -> None:
    client.settimeout(0)
    with pytest.raises(OSError):
        client.unwrap()  # type: ignore[attr-defined]  # an SSLSocket


def quit_and_close_notify(client: socket.socket) -> None:
    client.sendall(b"QUIT\r\n")
    close_notify(client)


TLS_ACTS = {
    "nothing": (lambda client: None, "published", "published"),
    "RSET": (lambda client: client.sendall(b"RSET\r\n"), "published", "cancelled"),
    "QUIT": (lambda client: client.sendall(b"QUIT\r\n"), "published", "published"),
    "close_notify": (close_notify, "gone", "gone"),
    "QUIT, close_notify": (quit_and_close_notify, "gone", "gone"),
    "raw FIN": (lambda client: socket.socket.shutdown(client, socket.SHUT_WR), "gone", "gone"),
    "reset": (reset, "gone", "gone"),
}


@pytest.mark.parametrize("commit", [Commit.CHECKED, Commit.CANCEL])
@pytest.mark.parametrize("act, checked, cancel", TLS_ACTS.values(), ids=TLS_ACTS)
def test_barrier_under_tls(act, checked, cancel, commit):
    script, sent = Script(), threading.Event()
    with tls_driven(commit=commit, script=script) as driven:
        driven.open_transaction()
        # An SSL object is for one thread at a time: the driver's plays the client from here on.
        script.at_barrier = lambda: sent.wait(JOIN_S) and act(driven.client.socket)

        driven.client.send(b".\r\n")
        sent.set()

        if checked == "published":
            driven.client.reply()
            driven.client.close()
        assert driven.ended()[0] == (checked if commit is Commit.CHECKED else cancel)
