"""The machinery judges rightly: the honest stand-in survives every point, every broken one is caught.

These are the suite's own teeth. Should one of them fail, no other result of the crash tests means much.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.crash import scenes
from tests.crash.agents import Forked
from tests.crash.nursery import Nursery
from tests.crash.oracle import Kind
from tests.crash.placements import APART, PLACEMENTS
from tests.crash.points import Bench, MakeAgent, Point, Result
from tests.crash.scenes import Scene
from tests.crash.shim import SYNCS, Action, Shim
from tests.crash.shim import Kind as CallKind

pytestmark = pytest.mark.crash

MakeBroken = Callable[[str], MakeAgent]


def make_standin(
    nursery: Nursery, broken: str, folder: Path, mail: Path, state: Path, scene: Scene
) -> Forked:
    flags = ["--broken", broken] if broken else []
    return Forked(nursery, "tests.crash.standin", folder=folder, mail=mail, state=state, flags=flags)


@pytest.fixture
def make(standin_nursery: Nursery) -> MakeBroken:
    return lambda broken: partial(make_standin, standin_nursery, broken)


@contextmanager
def bench_for(action: Action, shim: Shim, make: MakeAgent, folder: Path) -> Iterator[Bench]:
    """Set up file systems for cuts, and plain folders for kills."""
    if action is Action.CUT:
        with APART.bench(shim, make) as bench:
            yield bench
    else:
        for name in ("mail", "state"):
            (folder / name).mkdir()
        yield Bench(shim, make, mail=folder / "mail", state=folder / "state")


def kinds(results: list[Result]) -> set[Kind]:
    return {violation.kind for result in results for violation in result.violations}


@pytest.mark.parametrize(
    "scene", [scenes.ONE, scenes.FIRST_CONTACT, scenes.THREE, scenes.LOST_REPLY], ids=str
)
@pytest.mark.parametrize("action", [Action.KILL, Action.CUT])
def test_honest_deliverer_survives_every_point(shim, make, folder_in_memory, action, scene):
    with bench_for(action, shim, make(""), folder_in_memory) as bench:
        results = list(bench.play_all(scene, action, every=3))

    assert not kinds(results), "\n".join(str(result) for result in results if result.violations)
    assert len(results) > 8
    assert all(result.crash for result in results[:-1])


@pytest.mark.parametrize("placement", PLACEMENTS, ids=str)
def test_honest_deliverer_survives_wherever_its_records_lie(shim, make, placement):
    with placement.bench(shim, make("")) as bench:
        results = list(bench.play_all(scenes.ONE, Action.CUT, every=4))

    assert not kinds(results), "\n".join(str(result) for result in results if result.violations)


@pytest.mark.parametrize(
    "broken, action, scene, expected",
    [
        ("no-file-sync", Action.CUT, scenes.ONE, {Kind.LOST, Kind.PARTIAL}),
        ("no-directory-sync", Action.CUT, scenes.ONE, {Kind.LOST}),
        ("reply-before-sync", Action.CUT, scenes.ONE, {Kind.LOST}),
        ("no-record", Action.KILL, scenes.ONE, {Kind.DOUBLED}),
        ("record-after-rename", Action.KILL, scenes.ONE, {Kind.DOUBLED}),
        ("confirmed-at-once", Action.KILL, scenes.LOST_REPLY, {Kind.DOUBLED}),
    ],
)
def test_broken_deliverer_is_caught(shim, make, folder_in_memory, broken, action, scene, expected):
    with bench_for(action, shim, make(broken), folder_in_memory) as bench:
        results: list[Result] = []
        for result in bench.play_all(scene, action):
            results.append(result)
            if expected <= kinds(results):
                return

    pytest.fail(f"{len(results)} points, and nothing but {kinds(results)}")


def test_missing_reply_is_caught(shim, make, folder_in_memory):
    bench = Bench(shim, make("one-reply-less"), mail=folder_in_memory, state=folder_in_memory, patience_s=0.3)

    result = bench.play(scenes.FIRST_CONTACT, Point(action=Action.NONE, at=0))

    assert Kind.REPLIES in {violation.kind for violation in result.violations}


def test_sync_that_only_pretends_is_caught(shim, make):
    """eatmydata in our own hands: every sync is answered 0 and none is done."""
    shim.pretend((SYNCS, ""))
    try:
        with APART.bench(shim, make("")) as bench:
            results = list(bench.play_all(scenes.ONE, Action.CUT, kinds={CallKind.SEND}))
    finally:
        shim.pretend()

    assert Kind.LOST in kinds(results)
