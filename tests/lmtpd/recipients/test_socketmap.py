"""The socketmap protocol, over a real socket."""

import socket
import threading
import time
from pathlib import Path

import pytest

from lmtpd.protocol.addresses import Address
from lmtpd.recipients.entry import Entry
from lmtpd.recipients.lookup import LookupFailed, Question, SourceDown
from lmtpd.recipients.socketmap import REPLY_OCTETS, SocketmapLookup
from lmtpd.recipients.table_keys import Result
from tests.support.socketmap import socketmap_server

ALICE = Question("alice", "x", "example.org")


def lookup(path: Path, *, result: Result = Result.USER, timeout_s: float = 5) -> SocketmapLookup:
    return SocketmapLookup(str(path), "m", result=result, timeout_s=timeout_s)


def test_keys_are_asked_for_in_their_order_over_one_connection(tmp_path: Path):
    with socketmap_server(tmp_path / "s", {"m @example.org": "OK x"}) as server:
        asks = lookup(server.path)

        assert asks.find(ALICE) == Entry()
        assert asks.find(Question("b", None, "x.org")) is None
        asks.close()

        assert server.asked == [
            "m alice+x@example.org", "m alice@example.org", "m @example.org", "m b@x.org", "m @x.org",
        ]  # fmt: skip
        assert server.connections == 1


def test_values_mean_what_is_configured(tmp_path: Path):
    answers = {"m alice@example.org": "OK a@x.org, b@x.org"}
    with socketmap_server(tmp_path / "s", answers) as server:
        asks = lookup(server.path, result=Result.ALIAS)

        found = asks.find(ALICE)
        asks.close()

    assert found == Entry(targets=(Address("a", "x.org"), Address("b", "x.org")))


@pytest.mark.parametrize("answer", ["TEMP try later", "TIMEOUT slow", "PERM broken"])
def test_the_servers_own_trouble_is_no_answer(tmp_path: Path, answer: str):
    with socketmap_server(tmp_path / "s", {"m alice@example.org": answer}) as server:
        asks = lookup(server.path)
        with pytest.raises(LookupFailed, match=f"the server says '{answer}'") as caught:
            asks.find(ALICE)
        assert not isinstance(caught.value, SourceDown)
        asks.close()


@pytest.mark.parametrize(
    "answer, why",
    [
        (b"2:OK;", "not a netstring"),
        (b"x:OK,", "not a netstring"),
        (b"-1:OK,", "not a netstring"),
        (b"1234567890", "not a netstring"),
        (b"2:OK,3:x", "not a netstring"),
        (b"%d:" % (REPLY_OCTETS + 1), f"more than {REPLY_OCTETS}"),
        (b"5:WHAT?,", "not a socketmap answer"),
        (b"0:,", "not a socketmap answer"),
        (b"200:OK", "closed the connection"),
        (b"", "closed the connection"),
    ],
)
def test_what_is_no_answer_is_not_taken_for_one(tmp_path: Path, answer: bytes, why: str):
    with socketmap_server(tmp_path / "s", {"m alice@example.org": answer}) as server:
        asks = lookup(server.path)
        with pytest.raises(SourceDown, match=why):
            asks.find(ALICE)
        asks.close()


def test_a_connection_that_was_closed_meanwhile_is_made_anew(tmp_path: Path):
    with socketmap_server(tmp_path / "s", {"m alice@example.org": b"4:OK x,"}) as server:
        asks = lookup(server.path)

        assert asks.find(ALICE) == Entry()
        assert asks.find(ALICE) == Entry()
        asks.close()


def test_a_server_that_is_not_there(tmp_path: Path):
    with pytest.raises(SourceDown, match="No such file"):
        lookup(tmp_path / "none").find(ALICE)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with pytest.raises(SourceDown, match="refused"):
            SocketmapLookup(free.getsockname(), "m", result=Result.USER, timeout_s=5).find(ALICE)


def test_a_server_that_says_nothing_or_too_slowly_is_not_waited_for(tmp_path: Path):
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "s"))
        silent.listen()
        ended = threading.Event()

        def drip() -> None:
            accepted, _ = silent.accept()
            with accepted:
                while not ended.wait(0.05):
                    try:
                        accepted.sendall(b"0")
                    except OSError:
                        return

        thread = threading.Thread(target=drip)
        thread.start()
        began = time.monotonic()
        with pytest.raises(SourceDown, match=r"no answer within 0\.3 s|not a netstring"):
            lookup(tmp_path / "s", timeout_s=0.3).find(ALICE)
        ended.set()
        thread.join()

    assert time.monotonic() - began < 3
