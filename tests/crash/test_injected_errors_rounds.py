"""The syncs that several transactions share fail: all of the round are deferred, and nobody else.

The server takes tmpfs for a file system that it can sync as a whole; the fault is in syncfs(2), or in the
fsync(2) behind it that proves it. Once the fault is gone everything is delivered, exactly once.
"""

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.account import Account, Sent
from tests.crash.broken import SYNCED_AS_A_WHOLE
from tests.crash.client import settle
from tests.crash.crowd import Member, deliver_together, together_in_a_round
from tests.crash.nursery import Nursery
from tests.crash.oracle import check
from tests.crash.points import IGNORED
from tests.crash.shim import Action, Kind, Shim
from tests.crash.trials import Build

pytestmark = [pytest.mark.crash, pytest.mark.slow]

ERRORS = {errno.EIO: 451, errno.ENOSPC: 452, errno.EDQUOT: 452, errno.EROFS: 451}
SHARED = {"files": 1, "directories": 2}
# Behind the same call of the message that is delivered alone, before the round.
PROOFS = {"files": "/tmp/", "directories": "/new$"}
# To whom the messages of a round go; the first goes alone.
ROUND = (["first"], ["a"], ["b"], ["c", "d"], ["e"])


class Bench:
    """One server for all faults."""

    def __init__(self, shim: Shim, agent: Build, lock: Path) -> None:
        self.shim = shim
        self.agent = agent
        self.account = Account()
        self._lock = lock
        self._members = [Member(agent.address) for _ in ROUND]
        agent.start(self._members[0])
        self.deliver(self.compose())

    def compose(self) -> list[Sent]:
        """Write a message for each in the round."""
        return [self.account.compose(*(f"{user}@example.org" for user in users)) for users in ROUND]

    def deliver(self, messages: list[Sent]) -> None:
        """Send them in one round, behind the first."""
        deliver_together(self._members, messages, lock=self._lock)

    def again(self, messages: list[Sent]) -> None:
        """Send those that were refused in one round, behind a new first."""
        self.deliver([self.account.compose("first@example.org"), *(m for m in messages[1:] if m.open_places)])

    def settle(self) -> None:
        """Send again what has to be."""
        settle(self._members[0], self.account)


@pytest.fixture
def bench(shim: Shim, lmtpd_nursery: Nursery, folder_in_memory: Path) -> Iterator[Bench]:
    mail, state = folder_in_memory / "mail", folder_in_memory / "state"
    mail.mkdir()
    shim.watch(mail, state, ignoring=IGNORED)
    flags = ("--set", "limits.file_system_faults=0")
    agent = Build(lmtpd_nursery, SYNCED_AS_A_WHOLE, folder_in_memory, mail=mail, state=state, flags=flags)
    try:
        bench = Bench(shim, agent, state / "ledger.db.lock")
        yield bench
        bench.shim.disarm()
        bench.settle()
        agent.stop()
        found = check(bench.account, agent.mailboxes, settled=True, ledger=agent.ledger, may_stay=True)
        assert found == []
        assert "Traceback" not in agent.log(), agent.log()
    finally:
        shim.disarm()
        agent.kill()


def answers(messages: list[Sent]) -> dict[str, list[int | None]]:
    """Return what each recipient was answered, by user."""
    return {
        recipient.partition("@")[0]: sent.replies_to(place)
        for sent in messages
        for place, recipient in enumerate(sent.recipients)
    }


def assert_deferred(bench: Bench, messages: list[Sent], code: int) -> None:
    """All who were in the round of the fault were deferred, by its code, and nobody else was."""
    hit = together_in_a_round(bench.shim.calls())
    assert {"c", "d"} <= hit <= {"a", "b", "c", "d", "e"}
    assert len(hit) > 2, "the transactions did not come together"
    expected = {user: [ERRORS[code] if user in hit else 250] for users in ROUND for user in users}
    assert answers(messages) == expected, errno.errorcode[code]


@pytest.mark.parametrize("forever", [False, True], ids=["once", "from then on"])
@pytest.mark.parametrize("synced", SHARED)
def test_a_file_system_that_cannot_be_synced_defers_the_round(bench: Bench, synced: str, forever: bool):
    for code, reply in ERRORS.items():
        kinds = {Kind.SYNCFS}
        bench.shim.arm(Action.FAIL, SHARED[synced], error=code, forever=forever, kinds=kinds)
        messages = bench.compose()
        bench.deliver(messages)
        assert_deferred(bench, messages, code)
        if forever:
            bench.shim.arm(Action.FAIL, 1, error=code, forever=True, kinds=kinds)
            bench.again(messages)
            second = [given[1] for given in answers(messages).values() if len(given) > 1]
            assert set(second) <= {reply, 250}
            assert second.count(reply) >= 2, second
        bench.shim.disarm()

        bench.again(messages)

        assert {given[-1] for given in answers(messages).values()} == {250}


@pytest.mark.parametrize("synced", PROOFS)
def test_a_sync_of_the_file_system_that_did_nothing_defers_the_round(bench: Bench, synced: str):
    """Of a file system that went read-only syncfs says "done"; the fsync behind it does not."""
    for code in ERRORS:
        bench.shim.arm(Action.FAIL, 2, error=code, kinds={Kind.FSYNC}, only=PROOFS[synced])
        messages = bench.compose()
        bench.deliver(messages)
        assert_deferred(bench, messages, code)
        bench.shim.disarm()

        bench.again(messages)

        assert {given[-1] for given in answers(messages).values()} == {250}


def test_what_is_sent_once_the_fault_is_gone_goes_together_again(bench: Bench):
    bench.shim.arm(Action.FAIL, 1, error=errno.EIO, forever=True, kinds={Kind.SYNCFS})
    bench.deliver(bench.compose())
    bench.shim.arm()
    messages = bench.compose()

    bench.deliver(messages)

    assert set(map(tuple, answers(messages).values())) == {(250,)}
    assert [call.error for call in bench.shim.calls() if call.kind is Kind.SYNCFS][:2] == [0, 0]
