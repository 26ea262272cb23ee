"""The calls with which the real server opens, locks and cuts its ledger fail: once, and until the fault goes.

Everybody is deferred meanwhile, nobody refused; once the fault is gone all is delivered, exactly once, by the
same process. test_injected_errors.py does the same to the calls of each message.
"""

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.account import Account, Sent
from tests.crash.agents import Forked
from tests.crash.client import Behind, Client, settle
from tests.crash.nursery import Nursery
from tests.crash.oracle import check
from tests.crash.points import IGNORED
from tests.crash.shim import Action, Kind, Shim

pytestmark = [pytest.mark.crash, pytest.mark.slow]

ERRORS = (errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EMFILE, errno.ESTALE)
FEW_ERRORS = (errno.EIO, errno.EACCES, errno.EMFILE)
TO = ("a@example.org", "b@example.org")


class Bench:
    """One server for all faults."""

    def __init__(self, shim: Shim, agent: Forked, state: Path) -> None:
        self.shim = shim
        self._state = state
        self.account = Account()
        self.client = Client(agent.address)
        agent.start(self.client)
        self.attempt(self.account.compose(*TO))

    def attempt(self, sent: Sent) -> None:
        """Once; a client that was refused as a whole has nothing more to say on the connection."""
        self.client.send(sent, Behind.RSET)
        if sent.open_places:
            self.client.quit()

    def fault(
        self, kind: Kind, part: str, code: int, *, at: int, forever: bool, anew: bool = False
    ) -> list[int | None] | None:
        """Deliver with the fault, again if it lasts, and once more when it is gone.

        `anew`: the ledger is deleted, so that the server has to make and open one. Return what both
        recipients were answered alike; None if there was no such call.
        """
        self.shim.arm(Action.FAIL, at, error=code, forever=forever, kinds={kind}, only=part)
        for path in self._state.glob("ledger.db*") if anew else ():
            path.unlink()
        sent = self.account.compose(*TO)
        self.attempt(sent)
        if forever and kind is not Kind.LOCK:  # which SQLite waits for, for seconds
            self.attempt(sent)
        happened = self.shim.fired is not None
        self.shim.disarm()
        settle(self.client, self.account)
        answers = sent.replies_to(0)
        assert sent.replies_to(1) == answers, (errno.errorcode[code], at)
        assert answers[-1] == 250, (errno.errorcode[code], at, answers)
        assert set(answers[:-1]) <= {451}, (errno.errorcode[code], at, answers)
        return answers if happened else None


@pytest.fixture
def bench(shim: Shim, lmtpd_nursery: Nursery, folder_in_memory: Path) -> Iterator[Bench]:
    mail, state = folder_in_memory / "mail", folder_in_memory / "state"
    mail.mkdir()
    shim.watch(mail, state, ignoring=IGNORED)
    agent = Forked(lmtpd_nursery, "lmtpd", folder=folder_in_memory, mail=mail, state=state)
    try:
        bench = Bench(shim, agent, state)
        yield bench
        settle(bench.client, bench.account)
        bench.client.quit()
        agent.stop()
        assert check(bench.account, agent.mailboxes, settled=True, ledger=agent.ledger, may_stay=True) == []
        assert "Traceback" not in agent.log(), agent.log()
    finally:
        shim.disarm()
        agent.kill()


@pytest.mark.parametrize("forever", [False, True], ids=["once", "from then on"])
@pytest.mark.parametrize("kind, calls", [(Kind.OPEN, 5), (Kind.TRUNCATE, 1)], ids=["open", "ftruncate"])
def test_a_ledger_that_cannot_be_opened_defers_everybody(bench: Bench, kind: Kind, calls: int, forever: bool):
    for code in FEW_ERRORS:
        at, deferred = 1, 0
        while answers := bench.fault(kind, "/state", code, at=at, forever=forever, anew=True):
            deferred += answers[0] == 451
            at += 1
        assert at > calls, "the calls are not seen"
        assert deferred > 0, errno.errorcode[code]


def test_a_ledger_that_cannot_be_opened_defers_for_every_reason(bench: Bench):
    for code in ERRORS:
        answers = bench.fault(Kind.OPEN, "/ledger.db", code, at=1, forever=True, anew=True)

        assert answers == [451, 451, 250], errno.errorcode[code]


@pytest.mark.parametrize("at", [1, 2], ids=["lock", "unlock"])
def test_a_turn_that_cannot_be_had_defers_everybody(bench: Bench, at: int):
    for code in (*ERRORS, errno.ENOLCK):
        for forever in (False, True):
            answers = bench.fault(Kind.FLOCK, "/ledger.db.lock", code, at=at, forever=forever)

            assert answers is not None
            assert not forever or answers[:2] == [451, 451], (errno.errorcode[code], answers)


def test_a_lock_of_sqlite_that_cannot_be_had_once_defers_at_most(bench: Bench):
    for code in (errno.EIO, errno.ENOLCK, errno.EACCES):
        answers = bench.fault(Kind.LOCK, "/ledger.db", code, at=1, forever=False)

        assert answers is not None, errno.errorcode[code]


def test_locks_of_sqlite_that_cannot_be_had_defer_everybody(bench: Bench):
    assert bench.fault(Kind.LOCK, "/ledger.db", errno.ENOLCK, at=1, forever=True) == [451, 250]
