"""lmtpd loses its power inside the n-th call of a delivery, for every n, and inside the recovery behind it.

After each cut the file systems are mounted again and looked at, the server is started, the client sends again
what it had no reply for, and all is looked at once more. A short run cuts some 700 times; with SOAK=1 every
scene is cut at every call everywhere, and recovery from each of those cuts is cut too: over 20,000 times.
"""

import itertools
import os
import random
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest

from tests.crash import scenes
from tests.crash.agents import Forked
from tests.crash.nursery import Nursery
from tests.crash.oracle import Kind as Verdict
from tests.crash.placements import APART, PLACEMENTS, Placement
from tests.crash.points import NEVER, Bench, MakeAgent, Point, Result
from tests.crash.scenes import Scene
from tests.crash.shim import SYNCS, Action, Kind, Shim

pytestmark = [pytest.mark.crash, pytest.mark.slow]

SOAK = os.environ.get("SOAK") == "1"
CONCURRENT = (scenes.TWO_CONNECTIONS, scenes.ROUND, scenes.HOLD)
SCENES = (
    scenes.ONE,
    scenes.FIRST_CONTACT,
    scenes.THREE,
    scenes.CACHED,
    scenes.LOST_REPLY,
    scenes.READ_MEANWHILE,
    *((scenes.TWICE, scenes.EMPTY, scenes.BDAT, scenes.LARGE, *CONCURRENT) if SOAK else ()),
)
# How many of recovery's calls are passed over between two cuts.
RECOVERY_EVERY = 7 if SOAK else 4
# What is left of a large message is found and removed as what is left of a small one.
SCENES_TO_RECOVER_FROM = tuple(scene for scene in SCENES if scene is not scenes.LARGE)
# So that no test takes minutes.
RECOVERY_PARTS = 6 if SOAK else 1
Note = Callable[[Sequence[Result]], None]


def make_lmtpd(nursery: Nursery, folder: Path, mail: Path, state: Path, scene: Scene) -> Forked:
    return Forked(nursery, "lmtpd", folder=folder, mail=mail, state=state, flags=scene.flags)


@pytest.fixture
def make(lmtpd_nursery: Nursery) -> MakeAgent:
    return partial(make_lmtpd, lmtpd_nursery)


def assert_all_kept(results: Sequence[Result]) -> None:
    """Name every point at which something was lost, doubled or torn."""
    broken = [str(result) for result in results if result.violations]
    assert not broken, f"{len(broken)} of {len(results)} points\n" + "\n".join(broken)


@pytest.mark.parametrize("placement", PLACEMENTS, ids=str)
@pytest.mark.parametrize("scene", SCENES, ids=str)
def test_power_cut_in_any_call_of_a_delivery(
    shim: Shim, make: MakeAgent, scene: Scene, placement: Placement, note: Note
) -> None:
    with placement.bench(shim, make) as bench:
        results = list(bench.play_all(scene, Action.CUT, every=1 if SOAK else placement.every))

    note(results)
    assert_all_kept(results)
    # Else the shim would have seen nothing, and proven nothing.
    seen = {call.kind for call in results[-1].calls}
    assert seen >= {Kind.WRITE, Kind.FSYNC, Kind.FDATASYNC, Kind.RENAME, Kind.SEND}
    assert scene is not scenes.ROUND or Kind.SYNCFS in seen


@pytest.mark.skipif(SOAK, reason="they are cut at every call")
@pytest.mark.parametrize("scene, start", list(zip(CONCURRENT, (5, 7, 3), strict=True)), ids=str)
def test_power_cut_in_some_calls_of_other_scenes(
    shim: Shim, make: MakeAgent, scene: Scene, start: int, note: Note
) -> None:
    with APART.bench(shim, make) as bench:
        results = list(bench.play_all(scene, Action.CUT, every=11, start=start))

    note(results)
    assert_all_kept(results)
    assert len(results) > 3
    assert scene is not scenes.ROUND or any(call.kind is Kind.SYNCFS for call in results[-1].calls)


@pytest.mark.parametrize("placement", PLACEMENTS if SOAK else (PLACEMENTS[0], APART), ids=str)
@pytest.mark.parametrize("scene", [*SCENES_TO_RECOVER_FROM] if SOAK else [scenes.ONE], ids=str)
@pytest.mark.parametrize("part", range(RECOVERY_PARTS))
def test_power_cut_in_any_call_of_recovery(
    shim: Shim, make: MakeAgent, scene: Scene, placement: Placement, part: int, note: Note
) -> None:
    with placement.bench(shim, make) as bench:
        results = list(itertools.chain.from_iterable(recoveries(bench, scene, part)))

    note(results)
    assert_all_kept(results)
    assert len(results) > 40 // RECOVERY_EVERY


def recoveries(bench: Bench, scene: Scene, part: int) -> Iterator[Iterator[Result]]:
    """Cut the recovery from a first cut: at each call, or just before the first reply that a copy is kept.

    The latter is where the server has most to do: the copy is there, and the client does not know it.
    """
    calls = bench.play(scene, Point(action=Action.CUT, at=NEVER)).calls
    reply = next(call.number for call in calls if call.other.startswith(b"250 2.0.0 "))
    for at in range(1 + part, len(calls) + 2, RECOVERY_PARTS) if SOAK else (reply,):
        start = random.Random(at).randint(1, RECOVERY_EVERY)
        yield bench.play_recovery(scene, Action.CUT, at=at, every=RECOVERY_EVERY, start=start)


@pytest.mark.parametrize(
    "lie, expected",
    [
        ((SYNCS, "/tmp/"), {Verdict.LOST, Verdict.PARTIAL}),
        ((SYNCS, "/new$"), {Verdict.LOST}),
        ((SYNCS, "ledger.db-wal$"), {Verdict.LEDGER, Verdict.DOUBLED}),
        ((SYNCS, ""), {Verdict.LOST}),
    ],
    ids=["message", "directory", "ledger", "everything"],
)
def test_sync_that_is_only_pretended_is_noticed(
    shim: Shim, make: MakeAgent, lie: tuple[frozenset[Kind], str], expected: set[Verdict]
) -> None:
    """These cuts can tell: the same server on top of a kernel that lies is caught."""
    found: set[Verdict] = set()
    shim.pretend(lie)
    try:
        with APART.bench(shim, make) as bench:
            for result in bench.play_all(scenes.ONE, Action.CUT):
                found |= {violation.kind for violation in result.violations}
    finally:
        shim.pretend()

    assert expected <= found
