"""lmtpd is killed at the n-th call of a delivery, for every n, and at every call of the recovery behind it.

Then it is started again, the client sends again what it had no reply for, as Postfix would, and all is looked
at. A kill takes nothing that was written, so all of it lies in memory. With SOAK=1 recovery is killed behind
every kill of every scene, and the large message at each of its writes: more than 10,000 times.
"""

import os
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from tests.crash import scenes
from tests.crash.agents import Forked
from tests.crash.broken import SYNCED_AS_A_WHOLE
from tests.crash.client import Behind
from tests.crash.nursery import Nursery
from tests.crash.oracle import Kind as Verdict
from tests.crash.points import NEVER, Bench, MakeAgent, Point, Result
from tests.crash.scenes import Scene, Stage
from tests.crash.shim import Action, Shim
from tests.crash.trials import Build

pytestmark = [pytest.mark.crash, pytest.mark.slow]

SOAK = os.environ.get("SOAK") == "1"
# How many of recovery's calls are passed over between two kills: which ones, differs from kill to kill.
RECOVERY_EVERY = 2 if SOAK else 1
RECOVERY_PARTS = 8 if SOAK else 1  # so that no test takes minutes
Note = Callable[[Sequence[Result]], None]


def _two_connections(stage: Stage) -> None:
    """Deliver two messages to one mailbox at the same time."""
    other = type(stage.client)(stage.client._address)
    stage.more_clients.append(other)
    both = [stage.account.compose("a@example.org", octets=4096) for _ in range(2)]
    threads = [
        threading.Thread(target=client.send, args=(sent, Behind.QUIT))
        for client, sent in zip((stage.client, other), both, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


TWO_CONNECTIONS = Scene("two connections to one mailbox", scenes._warm, _two_connections)
# It answers before it publishes, so a kill may lose what was answered 250, and leave a record of the attempt:
# the policy is documented so.
HOLD = Scene("hold", scenes._nothing, scenes._one, flags=("--set", "delivery.commit=hold"))
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
    TWO_CONNECTIONS,
    HOLD,
)


def make_lmtpd(nursery: Nursery, folder: Path, mail: Path, state: Path, scene: Scene) -> Forked:
    return Forked(nursery, "lmtpd", folder=folder, mail=mail, state=state, flags=scene.flags)


@pytest.fixture
def bench(shim: Shim, lmtpd_nursery: Nursery, folder_in_memory: Path) -> Bench:
    make: MakeAgent = partial(make_lmtpd, lmtpd_nursery)
    for name in ("mail", "state"):
        (folder_in_memory / name).mkdir()
    return Bench(shim, make, mail=folder_in_memory / "mail", state=folder_in_memory / "state")


def broken_promises(scene: Scene, results: Sequence[Result]) -> list[Result]:
    """Return the results without what the documentation allows."""
    allowed = {Verdict.LOST, Verdict.LEDGER} if scene is HOLD else set()
    return [
        replace(result, violations=tuple(wrong for wrong in result.violations if wrong.kind not in allowed))
        for result in results
    ]


def assert_all_kept(results: Sequence[Result]) -> None:
    """Name every point at which something was lost, doubled or torn."""
    broken = [str(result) for result in results if result.violations]
    assert not broken, f"{len(broken)} of {len(results)} points\n" + "\n".join(broken)


@pytest.mark.parametrize("scene", SCENES, ids=str)
def test_kill_at_any_call_of_a_delivery(bench: Bench, scene: Scene, note: Note) -> None:
    every = 8 if scene is scenes.LARGE and not SOAK else 1

    results = broken_promises(scene, list(bench.play_all(scene, Action.KILL, every=every)))

    note(results)
    assert_all_kept(results)
    assert len(results) > 10


# Where the file system can be synced as a whole, deliveries go in rounds, not in their client's thread.
IN_ROUNDS = (scenes.ONE, scenes.THREE, scenes.SHARED, scenes.TWICE, scenes.LOST_REPLY, TWO_CONNECTIONS)


@pytest.fixture
def bench_of_rounds(shim: Shim, lmtpd_nursery: Nursery, folder_in_memory: Path) -> Bench:
    def make(folder: Path, mail: Path, state: Path, scene: Scene) -> Forked:
        return Build(lmtpd_nursery, SYNCED_AS_A_WHOLE, folder, mail=mail, state=state, flags=scene.flags)

    for name in ("mail", "state"):
        (folder_in_memory / name).mkdir()
    return Bench(shim, make, mail=folder_in_memory / "mail", state=folder_in_memory / "state")


@pytest.mark.parametrize("scene", IN_ROUNDS, ids=str)
def test_kill_at_any_call_of_a_round(bench_of_rounds: Bench, scene: Scene, note: Note) -> None:
    results = list(bench_of_rounds.play_all(scene, Action.KILL))

    note(results)
    assert_all_kept(results)
    assert len(results) > 10


def _recoveries(bench: Bench, scene: Scene, part: int) -> Iterator[Result]:
    """Kill the recovery from a first kill: at each call, or only just before the first 250 for a copy."""
    calls = bench.play(scene, Point(action=Action.KILL, at=NEVER)).calls
    reply = next(call.number for call in calls if call.other.startswith(b"250 2.0.0 "))
    places = range(1, len(calls) + 2, 8 if scene is scenes.LARGE else 1)
    for at in places[part::RECOVERY_PARTS] if SOAK else (reply,):
        start = random.Random(at).randint(1, RECOVERY_EVERY)
        yield from bench.play_recovery(scene, Action.KILL, at=at, every=RECOVERY_EVERY, start=start)


@pytest.mark.parametrize(
    "scene", [*SCENES] if SOAK else [scenes.ONE, scenes.FIRST_CONTACT, scenes.LOST_REPLY], ids=str
)
@pytest.mark.parametrize("part", range(RECOVERY_PARTS))
def test_kill_at_any_call_of_recovery(bench: Bench, scene: Scene, part: int, note: Note) -> None:
    results = broken_promises(scene, list(_recoveries(bench, scene, part)))

    note(results)
    assert_all_kept(results)
    assert len(results) > 10
