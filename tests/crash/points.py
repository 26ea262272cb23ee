"""One crash point after another: play a scene, crash the server at its n-th call, restart, send again, judge.

`Bench.play` is one point. `play_all` plays all of a scene, `play_recovery` all of the recovery that follows a
crash: up to the first number that the server never reaches; that play ends with a crash from outside, right
after the client has read its last reply.
"""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.crash.account import Account
from tests.crash.agents import Agent
from tests.crash.client import settle
from tests.crash.mounts import Mounted
from tests.crash.oracle import Violation, check
from tests.crash.scenes import Scene, Stage, make_durable, read_mail
from tests.crash.shim import EVERYTHING, Action, Call, Flush, Kind, Shim
from tests.support.polling import PATIENCE

# Written behind the replies by a thread of its own: when, is not the same in every run.
IGNORED = ("history.db", "/events.", "/index/", "dovecot", "/pid/")

NEVER = 1 << 40
"""A call number that no server reaches."""

MakeAgent = Callable[[Path, Path, Path, Scene], Agent]
"""From folder (socket, log), mail and state, and the scene, to a server that is not yet running."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """Where the server crashes: at call number `at` of the scene, and again at call `again_at` of recovery.

    Only calls of those kinds are counted.
    """

    action: Action
    at: int
    again_at: int | None = None
    kinds: frozenset[Kind] = EVERYTHING


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one point. A crash that is None came from outside, after the last reply was read."""

    scene: str
    point: Point
    crash: Call | None
    second_crash: Call | None
    violations: tuple[Violation, ...]
    calls: tuple[Call, ...]
    """What was recorded up to the (first) crash."""
    seconds: float

    def __str__(self) -> str:
        place = f"{self.scene}: {self.point.action.name.lower()} at point {self.point.at}"
        place += f", {self.crash or 'after the last reply'}"
        if self.point.again_at is not None:
            place += (
                f"; and again at point {self.point.again_at}, {self.second_crash or 'after the last reply'}"
            )
        return "\n  ".join([place, *dict.fromkeys(map(str, self.violations))])


class Bench:
    """Where scenes are played. `mail` and `state` are made anew below these folders for each point."""

    def __init__(
        self,
        shim: Shim,
        make: MakeAgent,
        *,
        mail: Path,
        state: Path,
        mounts: Sequence[tuple[Mounted, Flush]] = (),
        patience_s: float = 15.0 * PATIENCE,
    ) -> None:
        self._shim = shim
        self._patience_s = patience_s  # of the client with a reply
        self._make = make
        self._mail = mail
        self._state = state
        self._mounts = mounts
        self._played = 0
        shim.watch(mail, state, ignoring=IGNORED)
        shim.powered_by([(mount.path, flush) for mount, flush in mounts])

    def play_all(
        self,
        scene: Scene,
        action: Action,
        *,
        every: int = 1,
        start: int = 1,
        kinds: Iterable[Kind] = EVERYTHING,
    ) -> Iterator[Result]:
        """Crash at call start, start + every, ... of the scene, and once after the last reply."""
        at = start
        while True:
            result = self.play(scene, Point(action=action, at=at, kinds=frozenset(kinds)))
            yield result
            if result.crash is None:
                return
            at += every

    def play_recovery(
        self, scene: Scene, action: Action, *, at: int, every: int = 1, start: int = 1
    ) -> Iterator[Result]:
        """Crash at call `at` of the scene, and again at call start, start + every, ... of what follows."""
        again_at = start
        while True:
            result = self.play(scene, Point(action=action, at=at, again_at=again_at))
            yield result
            if result.second_crash is None:
                return
            again_at += every

    def play(self, scene: Scene, point: Point) -> Result:
        """Play one point, from a fresh server to the verdict."""
        began = time.monotonic()
        self._played += 1
        mail, state = self._mail / f"m{self._played}", self._state / f"s{self._played}"
        mail.mkdir(mode=0o755)
        make_durable(mail)
        with tempfile.TemporaryDirectory(prefix="lmtpd-point-") as name:
            folder = Path(name)
            folder.chmod(0o755)
            agent = self._make(folder, mail, state, scene)
            stage = Stage(agent.client(self._patience_s), Account(point.at), agent.mailboxes, state)
            play = _Play(self._shim, self._mounts, scene, agent, stage)
            try:
                crash, second = play.run(point)
            except BaseException as exc:
                exc.add_note(f"{scene.name}: {point}\n--- log of the server\n{agent.log()[-4000:]}")
                raise
            finally:
                self._shim.disarm()
                self._shim.thaw()
                stage.client.drop()
                agent.kill()
        shutil.rmtree(mail)
        shutil.rmtree(state, ignore_errors=True)
        seconds = time.monotonic() - began
        return Result(scene.name, point, crash, second, tuple(play.violations), play.calls, seconds)


class _Play:
    """One point being played."""

    def __init__(
        self,
        shim: Shim,
        mounts: Sequence[tuple[Mounted, Flush]],
        scene: Scene,
        agent: Agent,
        stage: Stage,
    ) -> None:
        self._shim = shim
        self._mounts = mounts
        self._scene = scene
        self._agent = agent
        self._stage = stage
        self.violations: list[Violation] = []
        self.calls: tuple[Call, ...] = ()

    def run(self, point: Point) -> tuple[Call | None, Call | None]:
        """Crash, recover, send again; return the calls that the crashes came in."""
        agent, stage, second = self._agent, self._stage, None
        agent.start(stage.client)
        self._scene.prepare(stage)

        self._shim.arm(point.action, point.at, kinds=point.kinds)
        self._scene.act(stage)
        crash = self._end_in_crash(point.action)
        self.calls = tuple(self._shim.calls())
        if self._scene.reader:
            read_mail(stage.mailboxes.root)

        if point.again_at is not None:
            self._shim.arm(point.action, point.again_at, kinds=point.kinds)
            self._try_to_recover()
            second = self._end_in_crash(point.action)

        agent.start(stage.client)
        settle(stage.client, stage.account)
        _visit_all(stage)
        agent.stop()
        self._judge(settled=True)
        return crash, second

    def _try_to_recover(self) -> None:
        """Start and send again, as far as the second crash allows."""
        try:
            self._agent.start(self._stage.client)
        except AssertionError:
            if self._shim.fired is None:
                raise
            return
        for sent in self._stage.account.open:
            self._stage.client.send(sent)

    def _end_in_crash(self, action: Action) -> Call | None:
        """The crash has come from within, or comes now from outside; then the power is back, and we look."""
        crash = self._shim.fired
        if crash is None and action is Action.CUT:
            self._shim.freeze()
            for mount, flush in self._mounts:
                mount.cut(flush)
        self._stage.client.drop()
        self._agent.kill()
        self._shim.disarm()
        self._stage.account.crashed()
        if action is Action.CUT:
            for mount, _ in self._mounts:
                mount.power_up()
        self._shim.thaw()
        self._judge(settled=False)
        return crash

    def _judge(self, *, settled: bool) -> None:
        if not (settled or self._agent.stores_before_reply):
            return
        stage = self._stage
        found = check(
            stage.account,
            stage.mailboxes,
            settled=settled,
            ledger=self._agent.ledger,
            planted=stage.planted,
        )
        self.violations += [wrong for wrong in found if wrong.kind not in self._scene.allowed]


def _visit_all(stage: Stage) -> None:
    """One more message for every mailbox: service goes on, and leftovers are noticed."""
    recipients = {name for sent in stage.account.sent for name in sent.recipients if name not in sent.doomed}
    for recipient in sorted(recipients):
        stage.account.compose(recipient)
    settle(stage.client, stage.account)
    stage.client.quit()
