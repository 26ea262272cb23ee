"""The real server while its disk fails: each kind of call, each error, once and until the fault goes.

A fault of one mailbox is answered 4xx for that recipient alone, a fault of the ledger for all of them; once
the fault is gone everything is delivered, exactly once, by the same process.
"""

import errno
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Timer

import pytest

from tests.crash.account import Account, Sent
from tests.crash.agents import Forked
from tests.crash.client import Behind, Client, settle
from tests.crash.nursery import Nursery
from tests.crash.oracle import check
from tests.crash.points import IGNORED
from tests.crash.shim import Action, Kind, Shim

pytestmark = [pytest.mark.crash, pytest.mark.slow]

ERRORS = {
    errno.EIO: 451,
    errno.ENOSPC: 452,
    errno.EDQUOT: 452,
    errno.EROFS: 451,
    errno.EACCES: 451,
    errno.EMFILE: 451,
    errno.ESTALE: 451,
}
NAMES = {code: errno.errorcode[code] for code in (*ERRORS, errno.EINTR)}
# The calls of a delivery to a mailbox that is open, and those of the first contact with one.
OPEN_MAILBOX = {
    "create": (Kind.OPEN, "/{}/tmp/"),
    "write": (Kind.WRITE, "/{}/tmp/"),
    "fsync": (Kind.FSYNC, "/{}/tmp/"),
    "close": (Kind.CLOSE, "/{}/tmp/"),
    "rename": (Kind.RENAME, "/{}/tmp/"),
    "fsync of new": (Kind.FSYNC, "/{}/new"),
}
FIRST_CONTACT = {
    "mkdir": (Kind.MKDIR, "/{}"),
    "mkdir of new": (Kind.MKDIR, "/{}/new"),
    "open": (Kind.OPEN, "/{}/new"),
    "fsync": (Kind.FSYNC, "/{}"),
}
LEDGER = {"write": Kind.WRITE, "fdatasync": Kind.FDATASYNC}


class Bench:
    """One server for all faults; each trial has a mailbox of its own, and `b` and `c` are the others."""

    def __init__(self, shim: Shim, agent: Forked) -> None:
        self.shim = shim
        self.agent = agent
        self.account = Account()
        self.client = Client(agent.address)
        self.trials = 0
        agent.start(self.client)
        self.client.send(self.account.compose("b@example.org", "c@example.org"), Behind.RSET)

    def victim(self) -> str:
        self.trials += 1
        return f"victim{self.trials}"

    def send(self, victim: str, *, octets: int = 4096) -> Sent:
        recipients = (f"{victim}@example.org", "b@example.org", "c@example.org")
        sent = self.account.compose(*recipients, octets=octets)
        self.attempt(sent)
        return sent

    def attempt(self, sent: Sent) -> None:
        """Once; a client whose message was refused as a whole has nothing more to say on the connection."""
        self.client.send(sent, Behind.RSET)
        if sent.open_places:
            self.client.quit()

    def fault(self, victim: str, kind: Kind, part: str, code: int, *, forever: bool) -> Sent:
        """Deliver with the fault, again if it lasts, and once more when it is gone."""
        self.shim.arm(Action.FAIL, 1, error=code, forever=forever, kinds={kind}, only=part)
        sent = self.send(victim)
        if forever:
            self.attempt(sent)
        assert self.shim.fired is not None, "there was no such call"
        self.shim.disarm()
        settle(self.client, self.account, [sent])
        return sent


@pytest.fixture
def bench(shim: Shim, lmtpd_nursery: Nursery, folder_in_memory: Path) -> Iterator[Bench]:
    mail, state = folder_in_memory / "mail", folder_in_memory / "state"
    mail.mkdir()
    shim.watch(mail, state, ignoring=IGNORED)
    # Each call is judged by its own reply: the server must not leave a disk alone that fails for long.
    flags = ("--set", "limits.file_system_faults=0")
    agent = Forked(lmtpd_nursery, "lmtpd", folder=folder_in_memory, mail=mail, state=state, flags=flags)
    try:
        bench = Bench(shim, agent)
        yield bench
        settle(bench.client, bench.account)
        bench.client.quit()
        agent.stop()
        found = check(bench.account, agent.mailboxes, settled=True, ledger=agent.ledger, may_stay=True)
        assert found == []
        assert "Traceback" not in agent.log(), agent.log()
    finally:
        shim.disarm()
        bench.client.drop()
        agent.kill()


@pytest.mark.parametrize("forever", [False, True], ids=["once", "from then on"])
@pytest.mark.parametrize("call", OPEN_MAILBOX)
def test_a_fault_of_an_open_mailbox_is_that_recipients_alone(bench: Bench, call: str, forever: bool):
    kind, part = OPEN_MAILBOX[call]
    for code, reply in ERRORS.items():
        victim = bench.victim()
        bench.client.send(bench.account.compose(f"{victim}@example.org"), Behind.RSET)

        sent = bench.fault(victim, kind, part.format(victim), code, forever=forever)

        expected = [reply, reply, 250] if forever else [reply, 250]
        assert sent.replies_to(0) == expected, NAMES[code]
        assert sent.replies_to(1) == sent.replies_to(2) == [250], NAMES[code]


@pytest.mark.parametrize("forever", [False, True], ids=["once", "from then on"])
@pytest.mark.parametrize("call", FIRST_CONTACT)
def test_a_fault_of_a_first_contact_is_that_recipients_alone(bench: Bench, call: str, forever: bool):
    kind, part = FIRST_CONTACT[call]
    for code, reply in ERRORS.items():
        victim = bench.victim()

        sent = bench.fault(victim, kind, part.format(victim), code, forever=forever)

        # A descriptor too few makes the server let go of mailboxes that it keeps open, and try again.
        retried_at_once = code == errno.EMFILE and not forever
        expected = [reply, reply, 250] if forever else [250] if retried_at_once else [reply, 250]
        assert sent.replies_to(0) == expected, NAMES[code]
        assert sent.replies_to(1) == sent.replies_to(2) == [250], NAMES[code]


@pytest.mark.parametrize("forever", [False, True], ids=["once", "from then on"])
@pytest.mark.parametrize("call", LEDGER)
def test_a_fault_of_the_ledger_defers_everybody(bench: Bench, call: str, forever: bool):
    for code, name in NAMES.items():
        if code == errno.EINTR and call == "write":
            continue  # SQLite repeats the call until it is not interrupted
        victim = bench.victim()

        sent = bench.fault(victim, LEDGER[call], "/state/ledger.db", code, forever=forever)

        for place in range(3):
            answers = sent.replies_to(place)
            assert answers[:-1] == [451] * (len(answers) - 1), (name, answers)
            # Once only, it may have hit the record of a message before, which is over: its removal.
            assert len(answers) >= (3 if forever else 1), (name, answers)
            assert answers[-1] == 250, (name, answers)


@pytest.mark.parametrize("call", [call for call in OPEN_MAILBOX if call not in ("rename", "close")])
def test_interrupted_calls_are_repeated(bench: Bench, call: str):
    kind, part = OPEN_MAILBOX[call]
    victim = bench.victim()
    bench.client.send(bench.account.compose(f"{victim}@example.org"), Behind.RSET)
    bench.shim.arm(Action.FAIL, 1, error=errno.EINTR, forever=True, kinds={kind}, only=part.format(victim))
    storm = Timer(0.05, bench.shim.disarm)
    storm.start()

    sent = bench.send(victim)

    storm.join()
    assert [sent.replies_to(place) for place in range(3)] == [[250]] * 3


@pytest.mark.parametrize("call", ["rename", "close"])
def test_what_cannot_be_repeated_is_deferred(bench: Bench, call: str):
    kind, part = OPEN_MAILBOX[call]
    victim = bench.victim()

    sent = bench.fault(victim, kind, part.format(victim), errno.EINTR, forever=False)

    assert sent.replies_to(0) == [451, 250]
    assert sent.replies_to(1) == sent.replies_to(2) == [250]


@pytest.mark.parametrize("kind", [Kind.WRITE, Kind.COPY], ids=["write", "copy"])
def test_short_writes_are_continued(bench: Bench, kind: Kind):
    victim = bench.victim()
    bench.shim.arm(Action.SHORT, 1, forever=True, kinds={kind}, only="/mail/")

    sent = bench.send(victim, octets=300_000)

    assert bench.shim.fired is not None
    bench.shim.disarm()
    assert [sent.replies_to(place) for place in range(3)] == [[250]] * 3


def test_a_disk_that_is_slow_to_come_back_is_used_as_soon_as_it_does(bench: Bench):
    victim = bench.victim()
    bench.shim.arm(Action.FAIL, 1, error=errno.EIO, forever=True, only="/mail/")
    refused = [bench.send(victim) for _ in range(5)]
    bench.shim.disarm()
    began = time.monotonic()

    sent = bench.send(victim)

    assert [sent.replies_to(place) for place in range(3)] == [[250]] * 3
    assert time.monotonic() - began < 5
    assert all(sent.replies_to(place) == [451] for sent in refused for place in range(3))
