"""lmtpd is killed at the n-th call of a delivery, for every n, and at every call of the recovery behind it.

Then it is started again, the client sends again what it had no reply for, as Postfix would, and all is looked
at. A kill takes nothing that was written, so all of it lies in memory. With SOAK=1 every call of the recovery
behind every kill of every scene is killed, and the large message at each of its writes: over 10,000 times.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest

from tests.crash import scenes
from tests.crash.agents import Forked
from tests.crash.broken import SYNCED_AS_A_WHOLE
from tests.crash.nursery import Nursery
from tests.crash.points import NEVER, Bench, MakeAgent, Point, Result
from tests.crash.scenes import Scene
from tests.crash.shim import Action, Kind, Shim
from tests.crash.trials import Build

pytestmark = [pytest.mark.crash, pytest.mark.slow]

SOAK = os.environ.get("SOAK") == "1"
RECOVERY_PARTS = 16 if SOAK else 1  # so that no test takes minutes
Note = Callable[[Sequence[Result]], None]


SCENES = (
    scenes.ONE,
    scenes.FIRST_CONTACT,
    scenes.THREE,
    scenes.SHARED,
    scenes.CACHED,
    scenes.TWICE,
    scenes.EMPTY,
    scenes.BDAT,
    scenes.LOST_REPLY,
    scenes.READ_MEANWHILE,
    scenes.LARGE,
    scenes.MOVED_MEANWHILE,
    scenes.TWO_CONNECTIONS,
    scenes.HOLD,
)
# Of a scene that is long, or like others, a short run kills at some calls only.
EVERY = {} if SOAK else {scenes.LARGE: 8, scenes.MOVED_MEANWHILE: 4, scenes.ROUND: 3}
RECOVERY_EVERY = {} if SOAK else {scenes.ROUND: 6}


def make_lmtpd(nursery: Nursery, folder: Path, mail: Path, state: Path, scene: Scene) -> Forked:
    return Forked(nursery, "lmtpd", folder=folder, mail=mail, state=state, flags=scene.flags)


@pytest.fixture
def bench(shim: Shim, lmtpd_nursery: Nursery, folder_in_memory: Path) -> Bench:
    make: MakeAgent = partial(make_lmtpd, lmtpd_nursery)
    for name in ("mail", "state"):
        (folder_in_memory / name).mkdir()
    return Bench(shim, make, mail=folder_in_memory / "mail", state=folder_in_memory / "state")


def assert_all_kept(results: Sequence[Result]) -> None:
    """Name every point at which something was lost, doubled or torn."""
    broken = [str(result) for result in results if result.violations]
    assert not broken, f"{len(broken)} of {len(results)} points\n" + "\n".join(broken)


@pytest.mark.parametrize("scene", SCENES, ids=str)
def test_kill_at_any_call_of_a_delivery(bench: Bench, scene: Scene, note: Note) -> None:
    results = list(bench.play_all(scene, Action.KILL, every=EVERY.get(scene, 1)))

    note(results)
    assert_all_kept(results)
    assert len(results) > 10


# Where the file system can be synced as a whole, deliveries go in rounds, not in their client's thread.
IN_ROUNDS = (
    scenes.ONE,
    scenes.THREE,
    scenes.SHARED,
    scenes.TWICE,
    scenes.LOST_REPLY,
    scenes.TWO_CONNECTIONS,
    scenes.ROUND,
    *((scenes.MOVED_MEANWHILE,) if SOAK else ()),
)


@pytest.fixture
def bench_of_rounds(shim: Shim, lmtpd_nursery: Nursery, folder_in_memory: Path) -> Bench:
    def make(folder: Path, mail: Path, state: Path, scene: Scene) -> Forked:
        return Build(lmtpd_nursery, SYNCED_AS_A_WHOLE, folder, mail=mail, state=state, flags=scene.flags)

    for name in ("mail", "state"):
        (folder_in_memory / name).mkdir()
    return Bench(shim, make, mail=folder_in_memory / "mail", state=folder_in_memory / "state")


@pytest.mark.parametrize("scene", IN_ROUNDS, ids=str)
def test_kill_at_any_call_of_a_round(bench_of_rounds: Bench, scene: Scene, note: Note) -> None:
    results = list(bench_of_rounds.play_all(scene, Action.KILL, every=EVERY.get(scene, 1)))

    note(results)
    assert_all_kept(results)
    assert len(results) > 10
    if scene is scenes.ROUND:
        assert any(call.kind is Kind.SYNCFS for call in results[-1].calls)


def _recoveries(bench: Bench, scene: Scene, part: int) -> Iterator[Result]:
    """Kill the recovery from a first kill: at each call, or only just before the first 250 for a copy."""
    calls = bench.play(scene, Point(action=Action.KILL, at=NEVER)).calls
    reply = next(call.number for call in calls if call.other.startswith(b"250 2.0.0 "))
    places = range(1, len(calls) + 2, 8 if scene is scenes.LARGE else 1)
    for at in places[part::RECOVERY_PARTS] if SOAK else (reply,):
        yield from bench.play_recovery(scene, Action.KILL, at=at, every=RECOVERY_EVERY.get(scene, 1))


@pytest.mark.parametrize(
    "scene", [*SCENES] if SOAK else [scenes.ONE, scenes.FIRST_CONTACT, scenes.LOST_REPLY], ids=str
)
@pytest.mark.parametrize("part", range(RECOVERY_PARTS))
def test_kill_at_any_call_of_recovery(bench: Bench, scene: Scene, part: int, note: Note) -> None:
    results = list(_recoveries(bench, scene, part))

    note(results)
    assert_all_kept(results)
    assert len(results) > 10


@pytest.mark.parametrize("part", range(RECOVERY_PARTS))
def test_kill_at_any_call_of_recovery_from_a_round(bench_of_rounds: Bench, part: int, note: Note) -> None:
    results = list(_recoveries(bench_of_rounds, scenes.ROUND, part))

    note(results)
    assert_all_kept(results)
    assert len(results) > 10
