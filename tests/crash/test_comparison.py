"""The comparison works: it finds what the other servers are known for, and so can be believed about ours."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from tests.crash import comparison, scenes
from tests.crash.comparison import MESSAGES, SERVERS, TRIALS, Contest, Tally
from tests.crash.oracle import Kind, Violation
from tests.crash.placements import PLACEMENTS
from tests.crash.points import NEVER, Point, Result
from tests.crash.shim import Action
from tests.support.requirements import need

pytestmark = [pytest.mark.crash, pytest.mark.system, pytest.mark.slow]

# The Maildirs on a file system of their own, while the other one has just committed its journal.
APART = next(placement for placement in PLACEMENTS if str(placement) == "ext4-ledger-ahead-of-mail")


def result_with(*violations: Violation) -> Result:
    return Result("scene", Point(action=Action.KILL, at=1), None, None, violations, (), 0.0)


def violation(kind: Kind, text: str) -> Violation:
    return Violation(kind, "I1", text)


def test_tally_counts_each_message_once_for_each_kind():
    tally = Tally()

    tally.add(result_with(violation(Kind.LOST, "m0"), violation(Kind.LOST, "m0")), 1)
    tally.add(result_with(violation(Kind.LOST, "m0"), violation(Kind.DOUBLED, "m1")), 1)
    tally.add(result_with(violation(Kind.LEFTOVER, "tmp/1")), 1)

    assert str(tally) == "**2 lost**, **1 doubled** of 3"


def test_tally_without_anything_wrong_is_a_zero():
    tally = Tally()

    tally.add(result_with(), 50)

    assert str(tally) == "0 of 50"


@pytest.mark.parametrize(
    "server, doubled", [("lmtpd", 0), ("Dovecot LMTP", MESSAGES), ("Postfix virtual(8)", MESSAGES)]
)
@pytest.mark.parametrize("trial", list(TRIALS)[-2:])
def test_client_that_has_to_send_again_gets_its_mail_doubled_elsewhere(server, trial, doubled):
    need("root", "dovecot", "postfix")
    play, trials = TRIALS[trial]
    tally = Tally()

    with SERVERS[server]() as (shim, make):
        for result in play(shim, make):
            tally.add(result, trials)

    assert dict(tally.wrong) == ({Kind.DOUBLED: doubled} if doubled else {})


@pytest.mark.parametrize(
    "contest, lost", [(comparison.lmtpd, 0), (comparison.dovecot, 0), (comparison.virtual, 1)]
)
def test_power_cut_behind_the_reply_loses_mail_where_the_directory_is_not_synced(
    contest: Callable[[], AbstractContextManager[Contest]], lost: int
):
    need("dovecot", "postfix")
    with contest() as (shim, make), APART.bench(shim, make) as bench:
        result = bench.play(scenes.ONE, Point(action=Action.CUT, at=NEVER))

    tally = Tally()
    tally.add(result, 1)
    assert tally.wrong[Kind.LOST] == lost
    assert not tally.wrong[Kind.UNDELIVERED]
