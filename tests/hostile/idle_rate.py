"""How much slower are deliveries beside thousands of connections that say nothing?

`python -m tests.hostile.idle_rate` lets 20 clients deliver, in short turns, to a server that has nothing else
to do and to one that holds 5,000 idle connections; who is first changes from pair to pair. It prints both
rates, and what is lost: the median over all pairs. The exit code is 1 if that is 10 % or more. Needs a C
compiler.
"""

import argparse
import os
import resource
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.programs import Load, Programs, compile_programs
from tests.bench.rows_costs import idle_connections
from tests.bench.servers import Server, lmtpd

IDLE = 5_000
BUSY = 20
OCTETS = 4_096
MOST_LOST = 0.10
ROOM = 500  # connections that the server accepts beyond the idle ones


@dataclass(frozen=True, slots=True)
class Pair:
    """Messages a second, measured one right after the other."""

    alone: float
    beside_idle: float

    @property
    def lost(self) -> float:
        """The share of the rate that is lost; below zero where the second was faster."""
        return 1 - self.beside_idle / self.alone


@dataclass(frozen=True, slots=True)
class Servers:
    """Two of the same; what differs is the idle connections."""

    programs: Programs
    quiet: Server
    crowded: Server


def lost(pairs: list[Pair]) -> float:
    """Return the share of the rate that is lost, in the median: one turn that others disturb is no matter."""
    return statistics.median(pair.lost for pair in pairs)


def measure(servers: Servers, *, pairs: int, messages: int) -> Iterator[Pair]:
    """Let both servers, the quiet one first, deliver in turns."""
    load = Load(BUSY, messages, OCTETS, BUSY)
    for number in range(-1, pairs):
        order = (0, 1) if number % 2 else (1, 0)
        rates = {
            place: load.run(servers.programs.load, (servers.quiet, servers.crowded)[place].socket).rate
            for place in order
        }
        if number >= 0:  # the first turns make the Maildirs
            yield Pair(rates[0], rates[1])


class TooFewDescriptors(Exception):
    """So many idle connections cannot be held; with fewer the figure would be another one's."""


def enough_descriptors(idle: int) -> None:
    """Raise our soft limit as far as it goes; TooFewDescriptors if that does not do.

    The server, which has the same limit, wants more than one for each.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    wanted = 2 * (idle + ROOM)
    if hard < wanted:
        raise TooFewDescriptors(
            f"{idle:,} idle connections want {wanted:,} descriptors, and the hard limit is {hard:,}: "
            f"raise it (ulimit -Hn {wanted}), or measure with fewer (--idle {max(0, hard // 2 - ROOM)})"
        )


@contextmanager
def servers(folder: Path, idle: int) -> Iterator[Servers]:
    """Run two servers, one of them with so many idle connections."""
    programs = compile_programs(folder)
    settings = {"server.connections": str(idle + ROOM)}
    quiet = lmtpd(folder / "quiet", settings=settings)
    crowded = lmtpd(folder / "crowded", settings=settings)
    with quiet, crowded, idle_connections(crowded, idle):
        yield Servers(programs, quiet, crowded)


def main() -> int:
    """Run as a program."""
    parser = argparse.ArgumentParser(prog="python -m tests.hostile.idle_rate", description=__doc__)
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--messages", type=int, default=1_000, help="in each turn")
    parser.add_argument("--idle", type=int, default=IDLE, help="connections")
    options = parser.parse_args()
    idle = options.idle
    try:
        enough_descriptors(idle)
    except TooFewDescriptors as exc:
        parser.error(str(exc))
    pairs = []
    # Not /tmp, which is often in memory, where a sync costs nothing.
    with tempfile.TemporaryDirectory(prefix="lmtpd-idle-", dir="/var/tmp") as name:
        os.chmod(name, 0o755)
        with servers(Path(name), idle) as both:
            for pair in measure(both, pairs=options.pairs, messages=options.messages):
                pairs.append(pair)
                sys.stderr.write(
                    f"{pair.alone:,.0f} messages/s alone, {pair.beside_idle:,.0f} beside {idle:,} idle\n"
                )
    alone, beside = (statistics.median(getattr(pair, name) for pair in pairs) for name in Pair.__slots__)
    share = lost(pairs)
    sys.stdout.write(
        f"idle: {BUSY} clients deliver {alone:,.0f} messages/s alone, {beside:,.0f} beside {idle:,} "
        f"idle connections: {share:.1%} lost, less than {MOST_LOST:.0%} is allowed\n"
    )
    return int(share >= MOST_LOST)


if __name__ == "__main__":
    sys.exit(main())
