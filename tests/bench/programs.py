"""The programs that work beside the servers: the floor, our own load and Postfix's.

Two kinds of load, since neither does for both. smtp-source(1), Postfix's own and known to everybody, is the
load wherever only the rate counts; each of its messages has its own Message-Id, so no two are equal. It sends
one command at a time, cannot keep to a rate, measures no single message and knows few recipients; for those
rows there is load.c, which speaks in groups as Postfix's LMTP client does.
"""

import json
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.servers import DOMAIN
from tests.support.requirements import program

HERE = Path(__file__).resolve().parent
COMPILE_S = 60.0
# No measurement takes nearly as long; a server that hangs must not hang the benchmark.
RUN_S = 240.0


class RunFailed(Exception):
    """A program of the benchmark ended with an error or not at all."""


@dataclass(frozen=True, slots=True)
class Timing:
    """What a load measured."""

    deliveries: int  # messages times recipients
    seconds: float
    p50_ms: float = 0.0
    p99_ms: float = 0.0

    @property
    def rate(self) -> float:
        """Deliveries per second."""
        return self.deliveries / self.seconds


@dataclass(frozen=True, slots=True)
class Floor:
    """The bare file operations."""

    threads: int
    deliveries: int
    octets: int
    users: int

    def run(self, executable: Path, folder: Path) -> Timing:
        """Store messages in Maildirs below the folder, which exists."""
        sizes = (self.threads, self.deliveries, self.octets, self.users)
        found = _run_one([str(executable), str(folder), *map(str, sizes)])
        return Timing(self.deliveries, found["seconds"])


@dataclass(frozen=True, slots=True)
class SmtpSource:
    """Postfix's load generator: so many processes, each with its own recipients and so many connections."""

    processes: int
    sessions: int
    messages: int  # by all processes together
    octets: int
    recipients: int = 1
    keep: bool = True  # a connection is used again, else made anew for each message

    def run(self, address: str) -> Timing:
        """Send everything to an address as smtp-source(1) takes it; anything but success is an error."""
        began = time.monotonic()
        run_together([self.command(address, number) for number in range(self.processes)])
        seconds = time.monotonic() - began
        return Timing(self.messages // self.processes * self.processes * self.recipients, seconds)

    def command(self, address: str, number: int) -> list[str]:
        """Return the command of one of the processes."""
        command = [program("smtp-source"), "-s", str(self.sessions), "-l", str(self.octets)]
        command += ["-m", str(self.messages // self.processes), "-r", str(self.recipients)]
        command += ["-M", "load.example", "-f", f"sender{number}@load.example", "-t", f"u{number}@{DOMAIN}"]
        command += ["-d"] if self.keep else []
        return [*command, *(["-L"] if address.startswith("unix:") else []), address]


@dataclass(frozen=True, slots=True)
class Load:
    """Our own load generator; see load.c."""

    connections: int
    messages: int
    octets: int
    users: int
    recipients: int = 1
    rate: float = 0.0  # messages per second; 0: as fast as replies come

    def run(self, executable: Path, socket: Path) -> Timing:
        """Send everything; a recipient that is not answered 250 is an error."""
        sizes = (self.connections, self.messages, self.octets, self.users, self.recipients, self.rate)
        found = _run_one([str(executable), str(socket), *map(str, sizes)])
        if found["replies_2xx"] != self.messages * self.recipients:
            raise RunFailed(f"not everything was delivered: {found}")
        latencies = (found[key] / 1000 for key in ("p50_us", "p99_us"))
        return Timing(self.messages * self.recipients, found["seconds"], *latencies)


@dataclass(frozen=True, slots=True)
class Programs:
    """Where the compiled programs lie."""

    floor: Path
    load: Path


def compile_programs(folder: Path) -> Programs:
    """Compile the C programs into the folder."""
    made = {}
    for name in ("floor", "load"):
        made[name] = folder / name
        flags = ["-O2", "-Wall", "-Wextra", "-pthread", "-o", str(made[name])]
        run_together([[program("cc"), *flags, str(HERE / f"{name}.c")]], deadline_s=COMPILE_S)
    return Programs(**made)


def _run_one(command: Sequence[str]) -> dict[str, float]:
    (output,) = run_together([command])
    found: dict[str, float] = json.loads(output)
    return found


def run_together(commands: Sequence[Sequence[str]], *, deadline_s: float = RUN_S) -> list[str]:
    """Run programs side by side; return what they wrote, or raise RunFailed and leave none of them behind."""
    end = time.monotonic() + deadline_s
    running = [
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for command in commands
    ]
    outputs = []
    try:
        for command, process in zip(commands, running, strict=True):
            output, errors = process.communicate(timeout=max(0.0, end - time.monotonic()))
            if process.returncode:
                raise RunFailed(f"{command}: exit code {process.returncode}\n{errors[-2000:]}")
            outputs.append(output)
    except subprocess.TimeoutExpired as exc:
        raise RunFailed(f"{exc.cmd}: not done within {deadline_s:g} s") from exc
    finally:
        for process in running:
            process.kill()
            process.communicate()
    return outputs
