# Long because the scripted guests of the lobby belong beside its tests.
"""Where connections wait: one thread for all, none lost, and a way out for whatever may take long."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lmtpd.delivery.rounds import Delivery
from lmtpd.server import lobby as lobby_module
from lmtpd.server.connection import Connection
from lmtpd.server.crew import Crew
from lmtpd.server.drain import Drain
from lmtpd.server.lobby import Lobby
from lmtpd.server.stream import PeerSilent, Stream
from lmtpd.server.talk import OWN_THREAD, Receive, Talk
from tests.support.driving import KeptBugs
from tests.support.polling import wait_for

DEADLINE_S = 10.0

Script = Callable[["Scripted"], Talk]


class Scripted:
    """A connection whose talk the test writes."""

    def __init__(self, stream: Stream, script: Script) -> None:
        self.stream = stream
        self.threads: list[int] = []
        self.heard: list[object] = []
        self.left = threading.Event()
        self._script = script

    def talk(self) -> Talk:
        return self._script(self)

    def go_on(self, talk: Talk) -> None:
        self.threads.append(threading.get_ident())
        for _ in talk:
            pass


class Rounds:
    """Takes deliveries, and is done with them when the test says so."""

    def __init__(self) -> None:
        self.done: list[Callable[[], None]] = []

    def submit(self, _: Delivery, done: Callable[[], None]) -> None:
        self.done.append(done)


class House:
    """A lobby and its guests."""

    def __init__(self, idle_s: float = DEADLINE_S) -> None:
        self.drain = Drain()
        self.crew = Crew()
        self.rounds = Rounds()
        self.reporter = KeptBugs()
        self.idle_s = idle_s
        self.lobby = Lobby(
            self.crew,
            self.rounds,  # type: ignore[arg-type]  # it has what is used here
            drain=self.drain,
            reporter=self.reporter,  # type: ignore[arg-type]  # as above
            idle_s=idle_s,
        )
        self.lobby.open()
        self.clients: list[socket.socket] = []

    def admit(self, script: Script) -> tuple[Scripted, socket.socket]:
        """Let a client in; return its connection and the client's end."""
        client, end = socket.socketpair()
        self.clients += [client, end]
        guest = Scripted(Stream(end, drain=self.drain, idle_s=self.idle_s), script)
        connection: Any = guest  # it has what the lobby uses
        assert {"talk", "go_on"} <= set(vars(Connection))
        self.lobby.enter(connection, guest.stream, guest.left.set)
        return guest, client


@pytest.fixture
def house() -> Iterator[House]:
    before = threading.stack_size()
    house = House()
    yield house
    house.lobby.close()
    threading.stack_size(before)
    for each in house.clients:
        each.close()


def listen(guest: Scripted) -> Talk:
    """Note what comes until the end of the stream."""
    while data := (yield Receive(100)):
        guest.threads.append(threading.get_ident())
        guest.heard.append(data)


def test_all_talks_go_on_in_one_thread(house):
    guests = [house.admit(listen) for _ in range(20)]

    for number, (_, client) in enumerate(guests):
        client.sendall(b"%d" % number)
    wait_for(lambda: all(guest.heard for guest, _ in guests), "what was said")

    assert [guest.heard for guest, _ in guests] == [[b"%d" % number] for number in range(20)]
    assert len({thread for guest, _ in guests for thread in guest.threads}) == 1


def test_the_end_of_a_talk_is_told_once(house):
    guest, client = house.admit(listen)
    client.sendall(b"x")
    wait_for(lambda: guest.heard, "the octet")

    client.close()

    assert guest.left.wait(DEADLINE_S)
    assert house.reporter.bugs == []


def test_a_bug_ends_its_talk_and_no_other(house):
    def explode(guest: Scripted) -> Talk:
        yield Receive(1)
        raise ZeroDivisionError

    broken, its_client = house.admit(explode)
    other, client = house.admit(listen)

    its_client.sendall(b"x")
    assert broken.left.wait(DEADLINE_S)
    client.sendall(b"y")
    wait_for(lambda: other.heard, "the other")

    assert [type(bug) for bug in house.reporter.bugs] == [ZeroDivisionError]


def test_a_delivery_parts_a_talk_from_its_client_until_it_is_done(house):
    """What the client says meanwhile is heard afterwards, and does not keep the host awake."""
    delivery: Any = Delivery(id="1", copies=[], write=lambda _: None, barrier=lambda: None, timing=None)  # type: ignore[arg-type]  # never delivered

    def deliver(guest: Scripted) -> Talk:
        yield delivery
        guest.heard.append("delivered")
        yield from listen(guest)

    guest, client = house.admit(deliver)
    wait_for(lambda: house.rounds.done, "the delivery")
    client.sendall(b"early")
    other, other_client = house.admit(listen)
    other_client.sendall(b"x")
    wait_for(lambda: other.heard, "somebody else")
    assert guest.heard == []

    house.rounds.done.pop()()

    wait_for(lambda: len(guest.heard) == 2, "what was said early")
    assert guest.heard == ["delivered", b"early"]
    client.sendall(b"late")
    wait_for(lambda: len(guest.heard) == 3, "what was said late")


def test_a_client_that_speaks_while_its_talk_is_elsewhere_costs_no_time(house):
    delivery: Any = Delivery(id="1", copies=[], write=lambda _: None, barrier=lambda: None, timing=None)  # type: ignore[arg-type]  # never delivered

    def twice(guest: Scripted) -> Talk:
        yield Receive(1)
        yield delivery
        yield from listen(guest)

    guest, client = house.admit(twice)
    client.sendall(b"x")
    wait_for(lambda: house.rounds.done, "the delivery")
    client.sendall(b"y")
    polled: list[int] = []
    house.lobby._epoll = Counting(house.lobby._epoll, polled)
    other, other_client = house.admit(listen)
    other_client.sendall(b"z")
    wait_for(lambda: other.heard, "somebody else")

    client.close()  # told at once, however muted it is; and then no more
    time.sleep(0.1)
    assert len(polled) < 20

    house.rounds.done.pop()()
    assert guest.left.wait(DEADLINE_S)


class Counting:
    """An epoll whose polls are counted."""

    def __init__(self, epoll: Any, polls: list[int]) -> None:  # Any: an epoll
        self._epoll = epoll
        self._polls = polls

    def poll(self, timeout: float) -> list[tuple[int, int]]:
        self._polls.append(1)
        events: list[tuple[int, int]] = self._epoll.poll(timeout)
        return events

    def __getattr__(self, name: str) -> Any:  # whatever epoll has
        return getattr(self._epoll, name)


def test_what_may_wait_has_a_thread_of_its_own(house):
    def lonely(guest: Scripted) -> Talk:
        yield OWN_THREAD
        guest.heard.append(threading.get_ident())

    guest, _ = house.admit(lonely)

    assert guest.left.wait(DEADLINE_S)
    assert guest.heard == guest.threads
    other, client = house.admit(listen)
    client.sendall(b"x")
    wait_for(lambda: other.heard, "the host")
    assert guest.threads != other.threads


def test_without_a_thread_the_hosts_own_serves(house, monkeypatch):
    def lonely(guest: Scripted) -> Talk:
        yield OWN_THREAD
        guest.heard.append("alone")

    def refuse(_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(house.crew, "start", refuse)

    guest, _ = house.admit(lonely)

    assert guest.left.wait(DEADLINE_S)
    assert guest.heard == ["alone"]


def test_a_host_that_is_held_up_is_relieved_and_nobody_is_lost(house):
    """Who had spoken in the same moment is heard by the new host."""
    gate, stuck = threading.Event(), threading.Event()

    def stick(guest: Scripted) -> Talk:
        yield Receive(1)
        stuck.set()
        assert gate.wait(DEADLINE_S)
        guest.heard.append("at last")
        yield from listen(guest)

    hanging, its_client = house.admit(stick)
    others = [house.admit(listen) for _ in range(5)]
    house.lobby._call(lobby_module._Guest(*block(house, [its_client, *(client for _, client in others)])))
    assert stuck.wait(DEADLINE_S)

    wait_for(lambda: house.lobby.relieve() or all(guest.heard for guest, _ in others), "the others")

    gate.set()
    wait_for(lambda: hanging.heard, "the old host")
    its_client.sendall(b"more")
    wait_for(lambda: len(hanging.heard) == 2, "its client")
    assert hanging.threads[-1] == others[0][0].threads[-1]


def block(house: House, clients: list[socket.socket]) -> tuple[Any, Any, Talk, Callable[[], None]]:
    """A guest in whose turn all these clients speak, so that the host finds them ready at once."""

    def speak() -> Talk:
        for client in clients:
            client.sendall(b"x")
        return
        yield

    return None, None, speak(), lambda: None


def test_silence_is_told(monkeypatch):
    monkeypatch.setattr(lobby_module, "_TICK_S", 0.02)
    before = threading.stack_size()
    house = House(idle_s=0.05)

    def silent(guest: Scripted) -> Talk:
        try:
            yield Receive(1)
        except PeerSilent:
            guest.heard.append("silent")

    guest, _ = house.admit(silent)

    assert guest.left.wait(DEADLINE_S)
    assert guest.heard == ["silent"]
    house.lobby.close()
    threading.stack_size(before)
    for each in house.clients:
        each.close()


def test_a_drain_is_told_to_all_who_wait(house):
    def drained(guest: Scripted) -> Talk:
        guest.heard.append((yield Receive(1)))

    guests = [house.admit(drained)[0] for _ in range(3)]

    house.drain.begin(5)

    for guest in guests:
        assert guest.left.wait(DEADLINE_S)
    assert [guest.heard for guest in guests] == [[None]] * 3


def test_a_bug_of_the_host_is_reported_and_another_takes_its_place(house, monkeypatch):
    guest, client = house.admit(listen)
    explode = iter([ZeroDivisionError()])
    hear = house.lobby._hear

    def failing(each: object) -> None:
        for error in explode:
            raise error
        hear(each)

    monkeypatch.setattr(house.lobby, "_hear", failing)
    client.sendall(b"x")

    wait_for(lambda: house.reporter.bugs, "the report")
    other, other_client = house.admit(listen)
    other_client.sendall(b"y")
    wait_for(lambda: other.heard, "the new host")
    assert guest.heard == []


def hold_up(house: House, seconds: float) -> tuple[Scripted, socket.socket, threading.Event]:
    """Let in a client whose talk holds up its host until the event is set, and then listens."""
    gate, stuck = threading.Event(), threading.Event()

    def stick(guest: Scripted) -> Talk:
        yield Receive(1)
        stuck.set()
        assert gate.wait(seconds)
        yield from listen(guest)

    guest, client = house.admit(stick)
    client.sendall(b"x")
    assert stuck.wait(DEADLINE_S)
    return guest, client, gate


def test_who_has_held_up_a_host_is_not_taken_for_silent(house):
    guest, _, gate = hold_up(house, DEADLINE_S)
    other, other_client = house.admit(listen)
    other_client.sendall(b"y")
    wait_for(lambda: house.lobby.relieve() or other.heard, "another host")
    released_at = time.monotonic()

    gate.set()
    wait_for(lambda: guest.stream.fileno() in house.lobby._waiting, "the old host")

    waiting = house.lobby._waiting[guest.stream.fileno()]
    assert waiting.silent_at >= released_at + house.idle_s


def test_a_host_that_could_not_be_relieved_goes_on(house, monkeypatch):
    guest, client, gate = hold_up(house, DEADLINE_S)

    def refuse(_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(house.crew, "start", refuse)
    refused_at = time.monotonic() + 2 * lobby_module.HELD_UP_S
    wait_for(lambda: house.lobby.relieve() or time.monotonic() > refused_at, "vain attempts")

    gate.set()
    client.sendall(b"z")

    wait_for(lambda: guest.heard, "the talk")


def test_in_a_drain_what_has_come_is_heard_first(house, monkeypatch):
    """Every dot that was received gets its replies, also one that nobody has read yet."""

    def drained(guest: Scripted) -> Talk:
        guest.heard.append((yield Receive(10)))

    guest, client = house.admit(drained)
    wait_for(lambda: guest.stream.fileno() in house.lobby._waiting, "the talk")
    look_around = house.lobby._look_around

    def speak_first(*arguments: Any) -> None:
        client.sendall(b".\r\n")
        look_around(*arguments)

    monkeypatch.setattr(house.lobby, "_look_around", speak_first)
    house.drain.begin(5)

    assert guest.left.wait(DEADLINE_S)
    assert guest.heard == [b".\r\n"]


def test_a_host_that_has_looked_around_is_not_held_up(house, monkeypatch):
    def drained(guest: Scripted) -> Talk:
        while (heard := (yield Receive(1))) is None:
            guest.heard.append(heard)

    guest, client = house.admit(drained)
    house.drain.begin(5)
    wait_for(lambda: guest.heard, "the drain")
    hosts = house.lobby._host
    over_at = time.monotonic() + 3 * lobby_module.HELD_UP_S

    wait_for(lambda: house.lobby.relieve() or time.monotonic() > over_at, "some looks at the host")

    assert house.lobby._host == hosts
    client.close()


def test_who_waits_behind_a_bug_of_the_host_is_served(house):
    def leave_badly() -> None:
        raise ZeroDivisionError

    def nothing() -> Talk:
        return
        yield

    _, _, gate = hold_up(house, DEADLINE_S)
    house.lobby._call(lobby_module._Guest(None, None, nothing(), leave_badly))  # type: ignore[arg-type]  # never looked at
    others = [house.admit(listen) for _ in range(3)]  # the bell has rung for them already

    gate.set()
    for _, client in others:
        client.sendall(b"y")

    wait_for(lambda: all(guest.heard for guest, _ in others), "those behind it")
    assert [type(bug) for bug in house.reporter.bugs] == [ZeroDivisionError]
