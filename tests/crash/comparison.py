"""lmtpd, Dovecot's LMTP server and Postfix's virtual(8) under the same crashes, judged by the same oracle.

Run as root: `python -m tests.crash.comparison`. It takes some minutes, prints progress to standard error and
a table in Markdown, that of docs/trust.md, to standard output. The other two servers are Debian's packages.

What is acknowledged, and to whom: for the LMTP servers it is the 250 for a recipient, for Postfix the 250 of
its smtpd, from where on its queue answers for the message, as a ledger does for lmtpd.
"""

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.crash import scenes
from tests.crash.agents import Agent, Dovecot, Forked
from tests.crash.client import Behind
from tests.crash.mounts import roomy_folder
from tests.crash.mta import VirtualPostfix
from tests.crash.nursery import Nursery
from tests.crash.oracle import Kind
from tests.crash.placements import PLACEMENTS
from tests.crash.points import Bench, MakeAgent, Point, Result
from tests.crash.scenes import Scene, Stage
from tests.crash.shim import Action, Shim
from tests.support.requirements import is_there, program

NEEDS = ("root", "loop device", "cc", "dovecot", "postfix", "mkfs.ext4", "mkfs.xfs")
MESSAGES = 50  # of the trials without a crash
ADDRESSES = ("a@example.org", "b@example.org", "c@example.org", "fresh@first.example.net")
COUNTED = (Kind.LOST, Kind.DOUBLED, Kind.PARTIAL, Kind.UNDELIVERED, Kind.REPLIES)
SCENES = (scenes.ONE, scenes.FIRST_CONTACT)

Contest = tuple[Shim, MakeAgent]


# ---- the servers ------------------------------------------------------------------------------------


@contextmanager
def lmtpd() -> Iterator[Contest]:
    """Set up lmtpd."""
    with Shim() as shim, Nursery("lmtpd", "storage", "sqlite_utils", environment=shim.environment) as nursery:

        def make(folder: Path, mail: Path, state: Path, scene: Scene) -> Agent:
            return Forked(nursery, "lmtpd", folder=folder, mail=mail, state=state, flags=scene.flags)

        yield shim, make


@contextmanager
def dovecot() -> Iterator[Contest]:
    """Set up Dovecot."""
    with Shim(program="lmtp", whole_group=False) as shim:

        def make(folder: Path, mail: Path, _state: Path, _scene: Scene) -> Agent:
            return Dovecot(shim, folder=folder, mail=mail)

        yield shim, make


@contextmanager
def virtual() -> Iterator[Contest]:
    """Set up Postfix."""
    with Shim(program="virtual", whole_group=False) as shim:

        def make(folder: Path, mail: Path, state: Path, _scene: Scene) -> Agent:
            return VirtualPostfix(shim, folder=folder, mail=mail, queue=state, addresses=ADDRESSES)

        yield shim, make


SERVERS = {"lmtpd": lmtpd, "Dovecot LMTP": dovecot, "Postfix virtual(8)": virtual}


# ---- the trials -------------------------------------------------------------------------------------


def _again_and_again(behind: Sequence[Behind]) -> Callable[[Stage], None]:
    """Send messages that end so, each followed by the retry that the client owes."""

    def act(stage: Stage) -> None:
        for number in range(MESSAGES):
            sent = stage.account.compose("a@example.org")
            stage.client.send(sent, behind[number % len(behind)])
            stage.client.send(sent)

    return act


def _lose(*behind: Behind) -> Scene:
    return Scene("lost", _warm_up, _again_and_again(behind))


def _warm_up(stage: Stage) -> None:
    stage.deliver("a@example.org")


LOST_REPLY = _lose(Behind.LOSES_REPLIES, Behind.QUIT_LOSES_REPLIES)
LATE_ABORT = _lose(Behind.CLOSE, Behind.QUIT_CLOSE)


def kills(shim: Shim, make: MakeAgent) -> Iterator[Result]:
    """SIGKILL in each call."""
    with tempfile.TemporaryDirectory(prefix="lmtpd-contest-", dir=roomy_folder()) as name:
        bench = _bench_in(Path(name), shim, make)
        for scene in SCENES:
            yield from bench.play_all(scene, Action.KILL)


def cuts(*placements: str) -> Callable[[Shim, MakeAgent], Iterator[Result]]:
    """Return the trial that cuts the power in each call."""

    def trial(shim: Shim, make: MakeAgent) -> Iterator[Result]:
        for placement in PLACEMENTS:
            if str(placement) in placements:
                with placement.bench(shim, make) as bench:
                    for scene in SCENES:
                        yield from bench.play_all(scene, Action.CUT)

    return trial


def without_crash(scene: Scene) -> Callable[[Shim, MakeAgent], Iterator[Result]]:
    """Return the trial of a client that misbehaves."""

    def trial(shim: Shim, make: MakeAgent) -> Iterator[Result]:
        with tempfile.TemporaryDirectory(prefix="lmtpd-contest-", dir=roomy_folder()) as name:
            yield _bench_in(Path(name), shim, make).play(scene, Point(action=Action.NONE, at=0))

    return trial


def _bench_in(folder: Path, shim: Shim, make: MakeAgent) -> Bench:
    folder.chmod(0o755)
    for name in ("mail", "state"):
        (folder / name).mkdir()
    return Bench(shim, make, mail=folder / "mail", state=folder / "state")


Trial = Callable[[Shim, MakeAgent], Iterator[Result]]
TRIALS: dict[str, tuple[Trial, int]] = {
    "SIGKILL in each call of a delivery, then the retry": (kills, 1),
    "power cut in each call, all on one file system": (cuts("ext4", "xfs"), 1),
    "power cut in each call, Maildirs on a file system of their own": (
        cuts("ext4-ledger-ahead-of-mail", "xfs-ledger-ahead-of-mail"),
        1,
    ),
    "reply lost on its way, then the retry": (without_crash(LOST_REPLY), MESSAGES),
    "client gone behind the dot, then the retry": (without_crash(LATE_ABORT), MESSAGES),
}


# ---- the table --------------------------------------------------------------------------------------


@dataclass(slots=True)
class Tally:
    """What went wrong in how many trials."""

    trials: int = 0
    wrong: Counter[Kind] = field(default_factory=Counter)
    examples: dict[Kind, str] = field(default_factory=dict)

    def add(self, result: Result, trials: int) -> None:
        """Count each message once for each kind of wrong."""
        self.trials += trials
        for kind, text in {(violation.kind, violation.text) for violation in result.violations}:
            self.wrong[kind] += 1
            self.examples.setdefault(kind, f"{text} ({result.crash or 'no crash'})")

    def __str__(self) -> str:
        counts = [f"**{self.wrong[kind]} {kind.value}**" for kind in COUNTED if self.wrong[kind]]
        return f"{', '.join(counts) or '0'} of {self.trials}"


def contest(servers: Sequence[str]) -> dict[tuple[str, str], Tally]:
    """Play everything."""
    tallies = {}
    for server in servers:
        with SERVERS[server]() as (shim, make):
            for name, (trial, trials) in TRIALS.items():
                tally = tallies[name, server] = Tally()
                for result in trial(shim, make):
                    tally.add(result, trials)
                    sys.stderr.write(f"\r{server}: {name}: {tally.trials}   ")
                sys.stderr.write(f"\r{server}: {name}: {tally}\n")
                for kind, example in tally.examples.items():
                    sys.stderr.write(f"    {kind.value} ({tally.wrong[kind]}), for example {example}\n")
    return tallies


def table(servers: Sequence[str], tallies: dict[tuple[str, str], Tally]) -> str:
    """Return it in Markdown."""
    head = [f"{server} {version(server)}".strip() for server in servers]
    lines = [f"| | {' | '.join(head)} |", f"|---|{'---|' * len(servers)}"]
    lines += [
        f"| {name} | {' | '.join(str(tallies[name, server]) for server in servers)} |" for name in TRIALS
    ]
    return "\n".join(lines)


def version(server: str) -> str:
    """Return the version of a server that is not ours."""
    commands = {
        "Dovecot LMTP": [program("dovecot"), "--version"],
        "Postfix virtual(8)": [program("postconf"), "-dh", "mail_version"],
    }
    if server not in commands:
        return ""
    output = subprocess.run(commands[server], capture_output=True, text=True, check=True).stdout
    found = re.match(r"[\d.]+", output)
    return found[0] if found else ""


def main() -> int:
    """Run the comparison; 1 if lmtpd lost, doubled or tore anything."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash.comparison", description=__doc__)
    parser.add_argument("--only", choices=SERVERS, action="append", help="one server; repeatable")
    servers = parser.parse_args().only or list(SERVERS)
    # So that nothing stays mounted or running.
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(1))
    missing = [name for name in NEEDS if not is_there(name)]
    if missing:
        sys.stderr.write(f"needs {', '.join(missing)}; run as root, after `make test`\n")
        return os.EX_UNAVAILABLE
    tallies = contest(servers)
    sys.stdout.write(f"{table(servers, tallies)}\n")
    ours = [tally for (_, server), tally in tallies.items() if server == "lmtpd"]
    return int(any(tally.wrong for tally in ours))


if __name__ == "__main__":
    sys.exit(main())
