# Long because the wrong orders and the load of the real run belong beside each other.
"""The automaton rejects each wrong order, and finds none in what the server does."""

import errno
import itertools
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.crash.account import Account
from tests.crash.agents import Forked
from tests.crash.broken import SYNCED_AS_A_WHOLE, UNBROKEN
from tests.crash.client import Behind, Client, settle
from tests.crash.crowd import Member, deliver_together
from tests.crash.nursery import Nursery
from tests.crash.oracle import Mailboxes, check
from tests.crash.order import deliveries, wrong_orders
from tests.crash.points import IGNORED
from tests.crash.shim import Call, Kind, Shim
from tests.crash.trials import Build

pytestmark = pytest.mark.crash

MAIL, STATE = Path("/mail"), Path("/state")
A = f"{MAIL}/example.org/a"
LEDGER, LOG = f"{STATE}/ledger.db", f"{STATE}/ledger.db-wal"
EXCLUSIVE = os.O_CREAT | os.O_EXCL

Trace = dict[str, Call]


class Tracer:
    """Writes traces by hand; calls follow each other unless they are told to overlap."""

    def __init__(self) -> None:
        self._clock = itertools.count(1)

    def __call__(
        self, kind: Kind, path: str = "", other: str = "", *, flags: int = 0, error: int = 0, tid: int = 1
    ) -> Call:
        begin, end = next(self._clock), next(self._clock)
        return Call(
            kind=kind,
            number=begin,
            begin=begin,
            end=end,
            result=-1 if error else 0,
            error=error,
            pid=1,
            tid=tid,
            fd=3,
            flags=flags,
            octets=1,
            path=path,
            other=other.encode(),
        )


def delivery(user: str = "a", name: str = "X", *, tid: int = 1) -> list[tuple[str, Callable[[Tracer], Call]]]:
    """Name the steps of one delivery, each with what it writes into a trace."""
    tmp, new = f"{MAIL}/example.org/{user}/tmp/{name}", f"{MAIL}/example.org/{user}/new"
    reply = f"250 2.0.0 <{user}@example.org> Saved 1\r\n"
    return [
        ("mail", lambda t: t(Kind.SEND, other="250 2.1.0 Sender OK\r\n", tid=tid)),
        ("create", lambda t: t(Kind.OPEN, tmp, flags=EXCLUSIVE, tid=tid)),
        ("write", lambda t: t(Kind.WRITE, tmp, tid=tid)),
        ("sync", lambda t: t(Kind.FSYNC, tmp, tid=tid)),
        ("close", lambda t: t(Kind.CLOSE, tmp, tid=tid)),
        ("record", lambda t: t(Kind.WRITE, LOG, tid=tid)),
        ("record sync", lambda t: t(Kind.FDATASYNC, LOG, tid=tid)),
        ("rename", lambda t: t(Kind.RENAME, tmp, f"{new}/{name}", flags=1, tid=tid)),
        ("new sync", lambda t: t(Kind.FSYNC, new, tid=tid)),
        ("reply", lambda t: t(Kind.SEND, other=reply, tid=tid)),
    ]


ORDER = [step for step, _ in delivery()]


def judge(*calls: Call) -> list[str]:
    """Return what the automaton says, without the calls."""
    found = wrong_orders(calls, Mailboxes(root=MAIL), STATE)
    return [text.partition(": call")[0] for text in found]


def in_order(*steps: str) -> list[str]:
    """Judge one delivery whose steps come as named."""
    write, tracer = dict(delivery()), Tracer()
    return judge(*(write[step](tracer) for step in steps))


def test_the_right_order_is_accepted():
    assert in_order(*ORDER) == []


@pytest.mark.parametrize(
    "step, complaint",
    [
        ("sync", "a file is published though it is not synced"),
        ("record", "a file is published though it has no record in the ledger"),
        ("record sync", "a file is published though its record is not durable"),
        ("new sync", "250 before the sync of new/"),
        ("create", "a file is published that was not written in tmp/"),
    ],
)
def test_a_missing_step_is_noticed(step, complaint):
    assert complaint in in_order(*(each for each in ORDER if each != step))


@pytest.mark.parametrize(
    "early, late",
    [
        ("sync", "write"),
        ("record", "sync"),
        ("record sync", "record"),
        ("rename", "sync"),
        ("rename", "record"),
        ("rename", "record sync"),
        ("new sync", "rename"),
        ("reply", "new sync"),
        ("reply", "rename"),
    ],
)
def test_a_step_too_early_is_noticed(early, late):
    steps = [step for step in ORDER if step != early]
    steps.insert(steps.index(late), early)

    assert in_order(*steps) != []


def test_a_sync_that_began_too_early_does_not_count():
    calls, tracer = {}, Tracer()
    for step, write in delivery():
        calls[step] = write(tracer)
    for step, late in (("sync", "write"), ("record sync", "record"), ("new sync", "rename")):
        early = _moved(calls[step], begin=calls[late].begin - 0.5)

        assert judge(*{**calls, step: early}.values()) != [], step


def test_a_step_that_failed_does_not_count():
    for step in ("sync", "record", "record sync", "new sync"):
        tracer = Tracer()
        calls = [write(tracer) for name, write in delivery()]
        place = ORDER.index(step)
        calls[place] = _failed(calls[place])

        assert judge(*calls) != [], step


def test_a_sync_in_another_thread_serves():
    calls, tracer = [], Tracer()
    for step, write in delivery():
        call = write(tracer)
        calls.append(_moved(call, tid=2) if step in {"record", "record sync", "new sync"} else call)

    assert judge(*calls) == []


def test_a_sync_repeated_after_an_error_is_noticed():
    write, tracer = dict(delivery()), Tracer()
    calls = [write[step](tracer) for step in ("create", "write", "sync", "sync")]

    assert judge(*calls) == []
    assert judge(calls[0], calls[1], _failed(calls[2]), calls[3]) == ["a sync is repeated after an error"]


def test_a_file_that_could_not_be_closed_must_not_be_published():
    tracer = Tracer()
    calls = [write(tracer) for _, write in delivery()]
    place = ORDER.index("close")
    calls[place] = _failed(calls[place])

    assert judge(*calls) == ["a file is published after an error"]


def test_a_file_is_created_exclusively_and_replaces_nothing():
    tracer = Tracer()
    calls = [write(tracer) for _, write in delivery()]
    create, rename = ORDER.index("create"), ORDER.index("rename")
    calls[create] = _moved(calls[create], flags=os.O_CREAT)
    calls[rename] = _moved(calls[rename], flags=0)

    assert judge(*calls) == [
        "a file is created over what may be there",
        "a rename may replace another message",
    ]


@pytest.mark.parametrize("made", [f"{MAIL}/example.org", A, f"{A}/new"])
@pytest.mark.parametrize("is_synced", [True, False])
def test_a_new_directory_is_synced_before_the_first_reply(made, is_synced):
    tracer = Tracer()
    calls = [tracer(Kind.MKDIR, made)]
    if is_synced:
        calls.append(tracer(Kind.FSYNC, str(Path(made).parent)))
    calls += [write(tracer) for _, write in delivery()]

    assert judge(*calls) == ([] if is_synced else [f"250, and the entry of {made} is not synced"])


def test_a_new_directory_elsewhere_may_wait():
    tracer = Tracer()
    calls = [tracer(Kind.MKDIR, f"{MAIL}/example.org/b"), *(write(tracer) for _, write in delivery())]

    assert judge(*calls) == []


def test_a_new_ledger_is_synced_into_its_directory():
    tracer = Tracer()
    calls = [tracer(Kind.OPEN, LEDGER, flags=EXCLUSIVE), *(write(tracer) for _, write in delivery())]

    assert judge(*calls) == [f"250, and the entry of {LEDGER} is not synced"]


def test_a_recognised_message_needs_a_sync_too():
    recognised = [step for step in ORDER if step in {"mail", "new sync", "reply"}]

    assert in_order(*ORDER, *recognised) == []
    assert in_order(*ORDER, "mail", "reply") == ["250, and new/ was not synced in this transaction"]


def test_one_recipients_sync_does_not_serve_another():
    tracer, first, second = Tracer(), dict(delivery("a")), dict(delivery("b", "Y"))
    steps = [*(first[step] for step in ORDER[:-2]), *(second[step] for step in ORDER[1:-2])]
    calls = [write(tracer) for write in (*steps, first["new sync"], first["reply"], second["reply"])]

    assert judge(*calls) == ["250 before the sync of new/"]


def shared(*steps: str) -> list[str]:
    """Judge a delivery to b whose file is a second name of a's, which gets all its steps but `steps`."""
    tracer, first, second = Tracer(), dict(delivery("a")), dict(delivery("b", "Y"))
    tmp = [f"{MAIL}/example.org/{user}/tmp/{name}" for user, name in (("a", "X"), ("b", "Y"))]
    calls = [first[step](tracer) for step in ("mail", "create", "write")]
    calls.append(tracer(Kind.LINK, *tmp))
    calls += [first[step](tracer) for step in ("sync", "close", "record", "record sync") if step not in steps]
    for name in ("rename", "new sync", "reply"):
        calls += [write[name](tracer) for write in (first, second)]
    return judge(*calls)


def test_one_sync_serves_all_names_of_a_file():
    assert shared() == []


@pytest.mark.parametrize(
    "step, complaint", [("sync", "it is not synced"), ("record", "it has no record in the ledger")]
)
def test_a_second_name_needs_what_the_first_one_needs(step, complaint):
    assert shared(step) == [f"a file is published though {complaint}"] * 2


def _moved(call: Call, **changes: object) -> Call:
    values = {name: getattr(call, name) for name in Call.__dataclass_fields__}
    return Call(**{**values, **changes})


def _failed(call: Call) -> Call:
    return _moved(call, error=errno.EIO, result=-1)


# ---- the server itself ------------------------------------------------------------------------------


class Load:
    """What the server is given to do: small, and of every kind."""

    def __init__(self, address: str) -> None:
        self.account = Account()
        self._address = address
        self.client = Client(address)

    def send_alone(self) -> None:
        """One message after another over one connection and several."""
        send, compose = self.client.send, self.account.compose
        send(compose("a@example.org"), Behind.NOTHING)
        send(compose("a@example.org", "b@example.org", "c@example.org"), Behind.QUIT)
        send(compose("a@example.org", "a@example.org", "fresh@first.example.net"), Behind.QUIT)
        send(compose("b@example.org", octets=1 << 20), Behind.NOTHING)
        send(compose("b@example.org", "c@example.org", octets=1 << 20))
        send(compose("a@example.org", octets=9000), Behind.QUIT, chunk_octets=4096)
        send(compose("a@example.org", octets=0), Behind.RSET)
        for behind in (Behind.QUIT_LOSES_REPLIES, Behind.LOSES_REPLIES, Behind.CLOSE):
            sent = compose("a@example.org", "b@example.org")
            send(sent, behind)
            settle(self.client, self.account, [sent])
        self.client.quit()

    def send_in_rounds(self, lock: Path, rounds: int = 3) -> None:
        """Several transactions in each round, where the file system is synced as a whole."""
        users = ["a@example.org", "b@example.org", "young@second.example.net"]
        members = [Member(self._address) for _ in range(5)]
        for _ in range(rounds):
            messages = [self.account.compose(*users[n % 3 :: -1]) for n in range(len(members))]
            deliver_together(members, messages, lock=lock)
        settle(self.client, self.account)
        self.client.quit()

    def send_together(self, clients: int = 6, messages: int = 8) -> None:
        """Several connections to few mailboxes at once, so that syncs are shared; one is new to all."""
        users = ["a@example.org", "b@example.org", "young@second.example.net"]
        work = [[self.account.compose(*users[: 1 + n % 3]) for n in range(messages)] for _ in range(clients)]

        def send(place: int) -> None:
            client = Client(self._address)
            for number, sent in enumerate(work[place]):
                client.send(sent, Behind.QUIT if number % 3 else Behind.NOTHING)
            client.quit()

        threads = [threading.Thread(target=send, args=(place,)) for place in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        settle(self.client, self.account)
        self.client.quit()


@pytest.fixture(params=[UNBROKEN])
def agent(
    shim: Shim, lmtpd_nursery: Nursery, folder_in_memory: Path, request: pytest.FixtureRequest
) -> Iterator[Build]:
    """A server of the build that is asked for."""
    mail, state = folder_in_memory / "mail", folder_in_memory / "state"
    mail.mkdir()
    shim.watch(mail, state, ignoring=IGNORED)
    agent = Build(lmtpd_nursery, request.param, folder_in_memory, mail=mail, state=state)
    yield agent
    shim.disarm()
    agent.kill()


def test_deliveries_that_share_a_file_keep_the_order(shim, lmtpd_nursery, folder_in_memory):
    mail, state = folder_in_memory / "mail", folder_in_memory / "state"
    mail.mkdir()
    shim.watch(mail, state, ignoring=IGNORED)
    flags = ("--set", "delivery.single_instance=link")
    agent = Forked(lmtpd_nursery, "lmtpd", folder=folder_in_memory, mail=mail, state=state, flags=flags)
    load = Load(agent.address)
    shim.arm()
    try:
        agent.start(load.client)
        load.send_alone()
    finally:
        shim.disarm()
        agent.stop()

    calls = shim.calls()
    assert any(call.kind is Kind.LINK for call in calls)
    assert wrong_orders(calls, agent.mailboxes, state) == []
    assert deliveries(calls) >= 19
    assert check(load.account, agent.mailboxes, settled=True, ledger=agent.ledger) == []


@pytest.mark.parametrize("agent", [UNBROKEN, SYNCED_AS_A_WHOLE], indirect=True)
@pytest.mark.parametrize("together", [False, True], ids=["alone", "together"])
def test_every_delivery_of_the_server_keeps_the_order(shim, agent, folder_in_memory, together):
    load = Load(agent.address)
    shim.arm()
    agent.start(load.client)

    load.send_together() if together else load.send_alone()
    shim.disarm()
    agent.stop()

    calls = shim.calls()
    assert wrong_orders(calls, agent.mailboxes, folder_in_memory / "state") == []
    assert deliveries(calls) >= (90 if together else 19)
    assert check(load.account, agent.mailboxes, settled=True, ledger=agent.ledger) == []


def play_rounds(shim: Shim, agent: Build, state: Path) -> tuple[Load, list[Call]]:
    """Trace a server from its start on, through rounds of several transactions."""
    load = Load(agent.address)
    shim.arm()
    agent.start(load.client)
    load.client.send(load.account.compose("a@example.org"), Behind.QUIT)
    load.send_in_rounds(state / "ledger.db.lock")
    shim.disarm()
    agent.stop()
    return load, shim.calls()


@pytest.mark.parametrize("agent", [SYNCED_AS_A_WHOLE], indirect=True)
def test_rounds_of_several_transactions_keep_the_order(shim, agent, folder_in_memory):
    load, calls = play_rounds(shim, agent, folder_in_memory / "state")

    assert wrong_orders(calls, agent.mailboxes, folder_in_memory / "state") == []
    assert deliveries(calls) >= 28
    assert check(load.account, agent.mailboxes, settled=True, ledger=agent.ledger) == []
    assert largest_round(calls) >= 5, "the transactions did not come together"


@pytest.mark.parametrize(
    "agent, complaint",
    [
        (f"{SYNCED_AS_A_WHOLE}+{build}", complaint)
        for build, complaint in (
            ("no file system sync", "a file is published though it is not synced"),
            ("no directory sync", "250 before the sync of new/"),
            ("reply before sync", "250 before the sync of new/"),
            ("record after rename", "a file is published though it has no record in the ledger"),
            ("ledger not synced: OFF", "a file is published though its record is not durable"),
        )
    ],
    indirect=["agent"],
)
def test_rounds_of_a_broken_build_are_noticed(shim, agent, folder_in_memory, complaint):
    _, calls = play_rounds(shim, agent, folder_in_memory / "state")

    found = wrong_orders(calls, agent.mailboxes, folder_in_memory / "state")
    # Nothing comes alone to these two mailboxes.
    in_rounds = [text for text in found if "/b/" in text or "b@example.org" in text or "young" in text]
    assert [text for text in in_rounds if text.startswith(complaint)], found


def largest_round(calls: Sequence[Call]) -> int:
    """Count the files that were created between two syncs of the file system."""
    largest = created = 0
    for call in calls:
        if call.kind is Kind.OPEN and call.flags & os.O_CREAT and "/tmp/" in call.path:
            created += 1
        elif call.kind is Kind.SYNCFS:
            largest, created = max(largest, created), 0
        elif call.kind is Kind.RENAME:
            created = 0
    return largest
