"""Rows (f) to (h): what a message costs in processor time, system calls, memory, and waiting."""

import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from tests.bench.bench import Bench, Rate
from tests.bench.measuring import Memory, Strace, memory
from tests.bench.programs import Load, SmtpSource
from tests.bench.results import DOVECOT, OURS, Line, Target
from tests.bench.rows_rates import KIB4
from tests.bench.servers import WORKERS, Server, dovecot, lmtpd

SYNCS = ("fsync", "fdatasync", "sync_file_range", "sync", "syncfs", "msync")
MB50 = 50_000_000
IDLE_CONNECTIONS = 1_000
BIG_CONNECTIONS = 20
SAMPLE_EVERY_S = 0.05
WARM_UP = 320


def _load(messages: int) -> Rate:
    return SmtpSource(8, 4, messages, KIB4)


# ---- (f) ------------------------------------------------------------------------------------------


def processor_time(bench: Bench) -> None:
    """Measure processor time at 32 connections."""
    processor = bench.line(Line("f", "processor time at 32 connections", "ms/message"))
    for _ in range(bench.rounds):
        for make in bench.servers():
            server = make()
            size = bench.size(16_000 if server.name == OURS else 4_000)
            sample = bench.sample(server, _load(WARM_UP), _load(size))
            bench.note(processor, server.name, sample.processor_ms)


def system_calls(bench: Bench) -> None:
    """Count system calls at 32 connections."""
    syncs = bench.line(Line("f", "syncs at 32 connections", "per message", (Target(at_most=1.5),)))
    calls = bench.line(Line("f", "system calls at 32 connections", "per message"))
    for make in bench.servers():
        name, counts = _calls_per_message(bench, make, only=",".join(SYNCS), messages=bench.size(8_000))
        bench.note(syncs, name, sum(counts.values()))
        name, counts = _calls_per_message(bench, make, only="all", messages=bench.size(2_000))
        bench.note(calls, name, sum(counts.values()))


def _calls_per_message(
    bench: Bench, make: Callable[[], Server], *, only: str, messages: int
) -> tuple[str, dict[str, float]]:
    """Count the calls of a server under a load, less those of one without: of starting and ending."""
    name, quiet = _calls(bench, make, only=only, loads=[_load(WARM_UP)])
    name, busy = _calls(bench, make, only=only, loads=[_load(WARM_UP), _load(messages)])
    return name, {call: (busy[call] - quiet[call]) / messages for call in busy}


def _calls(
    bench: Bench, make: Callable[[], Server], *, only: str, loads: list[Rate]
) -> tuple[str, Counter[str]]:
    server = make()
    strace = Strace(server.folder / "strace", only)
    server.wrapper = strace.wrapper()
    with server:
        for load in loads:
            bench.send(server, load)
    return server.name, strace.counts()


# ---- (g) ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MemoryLines:
    """A line for all processes together and one for the largest."""

    together: Line
    largest: Line

    @classmethod
    def of(cls, bench: Bench, what: str, *targets: Target) -> "MemoryLines":
        """Put both into the table."""
        together = bench.line(Line("g", f"{what}: all processes (PSS)", "MB"))
        return cls(together, bench.line(Line("g", f"{what}: largest process (RSS)", "MB", targets)))

    def note(self, bench: Bench, system: str, found: Memory) -> None:
        """Add a sample to both."""
        bench.note(self.together, system, found.together)
        bench.note(self.largest, system, found.largest)


def memories(bench: Bench) -> None:
    """Measure memory: doing nothing, with idle connections, and with large messages under way."""
    resting = MemoryLines.of(bench, "idle", Target(at_most=40.0))
    idle = MemoryLines.of(bench, f"{IDLE_CONNECTIONS:,} idle connections")
    small = MemoryLines.of(bench, f"peak, {BIG_CONNECTIONS} connections, 4 KiB each")
    big = MemoryLines.of(bench, f"peak, {BIG_CONNECTIONS} connections, 50 MB each")
    growth = bench.line(Line("g", "more for 50 MB than for 4 KiB", "MB/connection", (Target(at_most=1.0),)))
    for make in _with_room(bench):
        server = make()
        with server:
            bench.send(server, Load(WORKERS, WORKERS * 4, KIB4, 1))
            resting.note(bench, server.name, memory(server.pid))
            with idle_connections(server, IDLE_CONNECTIONS):
                idle.note(bench, server.name, memory(server.pid))
        peaks = []
        for lines, octets, messages in ((small, KIB4, bench.size(4_000)), (big, MB50, BIG_CONNECTIONS)):
            server = make()
            with server:
                peaks.append(_peak(bench, server, Load(BIG_CONNECTIONS, messages, octets, BIG_CONNECTIONS)))
            lines.note(bench, server.name, peaks[-1])
        bench.note(growth, server.name, (peaks[1].together - peaks[0].together) / BIG_CONNECTIONS)


def _with_room(bench: Bench) -> list[Callable[[], Server]]:
    """Return makers of servers that accept all the idle connections; Dovecot needs a process for each."""
    makers: list[Callable[[], Server]] = []
    if bench.has(DOVECOT):
        makers.append(lambda: dovecot(bench.fresh("dovecot"), room=IDLE_CONNECTIONS))
    if bench.has(OURS):
        makers.append(lambda: lmtpd(bench.fresh("lmtpd")))
    return makers


def _peak(bench: Bench, server: Server, load: Load) -> Memory:
    """Send a load and return the most memory seen meanwhile."""
    seen = [memory(server.pid)]
    done = threading.Event()

    def watch() -> None:
        while not done.wait(SAMPLE_EVERY_S):
            seen.append(memory(server.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        bench.send(server, load)
    finally:
        done.set()
        watcher.join()
    return Memory(
        max(one.together for one in seen),
        max(one.largest for one in seen),
        max(one.processes for one in seen),
    )


@contextmanager
def idle_connections(server: Server, count: int) -> Iterator[None]:
    """Hold that many connections open, each with its answer to LHLO."""
    with ExitStack() as open_ones:
        for _ in range(count):
            connection = open_ones.enter_context(socket.socket(socket.AF_UNIX))
            connection.settimeout(30)
            connection.connect(str(server.socket))
            _expect(connection, b"220")
            connection.sendall(b"LHLO idle.example\r\n")
            _expect(connection, b"250")
        yield


def _expect(connection: socket.socket, code: bytes) -> None:
    with connection.makefile("rb") as replies:
        while (line := replies.readline()).startswith(code + b"-"):
            pass
    if not line.startswith(code):
        raise RuntimeError(f"{line!r} where {code!r} was expected")


# ---- (h) ------------------------------------------------------------------------------------------


def latencies(bench: Bench) -> None:
    """Measure how long a message takes, from when it is due, with half the load that the server can take."""
    typical = bench.line(Line("h", "p50 at half of its own load", "ms"))
    worst = bench.line(Line("h", "p99 at half of its own load", "ms"))
    seconds = 2 if bench.quick else 8
    slowest = None
    for _ in range(bench.rounds):
        for make in bench.servers():
            server = make()
            with server:
                full = bench.send(server, Load(32, bench.size(4_000), KIB4, 32)).timing.rate
            slowest = slowest or full  # Dovecot's, where it is measured: it is the first
            found = _at_rate(bench, make(), full / 2, seconds)
            bench.note(typical, server.name, found[0])
            bench.note(worst, server.name, found[1])
    if slowest and bench.has(DOVECOT, OURS):
        equal = bench.line(Line("h", f"p99 at half of Dovecot's load, {slowest / 2:,.0f}/s", "ms"))
        for make in bench.servers():
            server = make()
            bench.note(equal, server.name, _at_rate(bench, server, slowest / 2, seconds)[1])


def _at_rate(bench: Bench, server: Server, rate: float, seconds: int) -> tuple[float, float]:
    """Return p50 and p99 in ms at a number of messages per second."""
    with server:
        bench.send(server, Load(32, 320, KIB4, 32))
        timing = bench.send(server, Load(32, int(rate * seconds), KIB4, 32, rate=rate)).timing
    return timing.p50_ms, timing.p99_ms
