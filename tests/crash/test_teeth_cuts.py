"""A power cut catches what the automaton of order.py only deduces: builds that do not sync lose mail.

The cut comes right after the client has read its last reply, when everything answered 250 must be there.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.crash import scenes
from tests.crash.agents import Forked
from tests.crash.broken import UNBROKEN
from tests.crash.nursery import Nursery
from tests.crash.placements import APART
from tests.crash.points import NEVER, Point
from tests.crash.scenes import Scene
from tests.crash.shim import Action, Shim
from tests.crash.trials import Build, eatmydata

pytestmark = pytest.mark.crash

Cut = Callable[[Nursery, str, Scene], list[str]]

AT_THE_END = Point(action=Action.CUT, at=NEVER)

# Build -> how the oracle's complaint may begin. A missing parent sync does not show: ext4 commits its whole
# journal with the sync of new/, and XFS what that depends on. So that one is the automaton's.
LOSERS = {
    "no file sync": ("I1 lost", "I2 partial"),
    "no directory sync": ("I1 lost",),
}


def make_build(name: str, nursery: Nursery, folder: Path, mail: Path, state: Path, scene: Scene) -> Forked:
    return Build(nursery, name, folder, mail=mail, state=state)


@pytest.fixture
def cut(shim: Shim) -> Cut:
    def run(nursery: Nursery, name: str, scene: Scene) -> list[str]:
        with APART.bench(shim, partial(make_build, name, nursery)) as bench:
            return [str(violation) for violation in bench.play(scene, AT_THE_END).violations]

    return run


@pytest.mark.parametrize("name", LOSERS)
def test_power_cut_catches_a_build_that_does_not_sync(name: str, cut: Cut, lmtpd_nursery: Nursery):
    assert [text for text in cut(lmtpd_nursery, name, scenes.ONE) if text.startswith(LOSERS[name])]


@pytest.mark.parametrize("scene", [scenes.ONE, scenes.FIRST_CONTACT], ids=str)
def test_unbroken_build_loses_nothing(scene: Scene, cut: Cut, lmtpd_nursery: Nursery):
    assert cut(lmtpd_nursery, UNBROKEN, scene) == []


def test_power_cut_catches_eatmydata(cut: Cut, shim: Shim):
    library = eatmydata()
    environment = {**shim.environment, "LD_PRELOAD": f"{library}:{shim.environment['LD_PRELOAD']}"}

    with Nursery("lmtpd", "storage", "sqlite_utils", environment=environment) as nursery:
        violations = cut(nursery, UNBROKEN, scenes.FIRST_CONTACT)

    assert [text for text in violations if text.startswith("I1 lost")]
