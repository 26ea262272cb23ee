"""One run of the benchmark: its folder, what it may measure, and the way in which one sample is taken."""

import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.measuring import processor_s
from tests.bench.programs import Floor, Load, Programs, RunFailed, SmtpSource, Timing
from tests.bench.results import DOVECOT, OURS, Line
from tests.bench.servers import DOMAIN, Server, dovecot, lmtpd

Rate = SmtpSource | Load


@dataclass(frozen=True, slots=True)
class Sample:
    """What one load did to one server."""

    timing: Timing
    processor_ms: float  # of the server, per delivery


@dataclass(slots=True)
class Bench:
    """What all rows share."""

    folder: Path
    programs: Programs
    systems: frozenset[str]
    rounds: int
    quick: bool
    lines: list[Line] = field(default_factory=list)
    _folders: int = 0
    _began: float = field(default_factory=time.monotonic)

    def say(self, text: str) -> None:
        """Tell how far we are, on standard error."""
        sys.stderr.write(f"{time.monotonic() - self._began:6.0f} s  {text}\n")
        sys.stderr.flush()

    def line(self, line: Line) -> Line:
        """Put a line into the table; its samples may come later."""
        self.lines.append(line)
        return line

    def size(self, count: int) -> int:
        """Return how many messages to send where a full run sends `count`."""
        return max(64, count // 8) if self.quick else count

    def fresh(self, purpose: str) -> Path:
        """Return a path that was never used.

        Nothing is deleted before the end of the run: for a minute after many deletions, ext4 is slow.
        """
        self._folders += 1
        return self.folder / f"{self._folders}-{purpose}"

    def servers(self, settings: Mapping[str, str] | None = None) -> list[Callable[[], Server]]:
        """Return makers of the servers that take LMTP, Dovecot first; `settings` are for lmtpd."""
        makers: list[Callable[[], Server]] = []
        if DOVECOT in self.systems:
            makers.append(lambda: dovecot(self.fresh("dovecot")))
        if OURS in self.systems:
            makers.append(lambda: lmtpd(self.fresh("lmtpd"), settings=settings))
        return makers

    def floor(self, floor: Floor) -> Timing:
        """Measure the bare file operations, in a fresh folder."""
        folder = self.fresh("floor")
        folder.mkdir()
        return floor.run(self.programs.floor, folder)

    def send(self, server: Server, load: Rate) -> Sample:
        """Send a load to a running server."""
        before = processor_s(server.pid)
        if isinstance(load, Load):
            timing = load.run(self.programs.load, server.socket)
        else:
            timing = load.run(f"unix:{server.socket}")
        used_ms = (processor_s(server.pid) - before) * 1000
        return Sample(timing, used_ms / timing.deliveries)

    def sample(self, server: Server, warm_up: Rate, load: Rate) -> Sample:
        """Start a server, let it make its Maildirs, send the load, see that each message is there once."""
        with server:
            warmed = self.send(server, warm_up)
            sample = self.send(server, load)
            expect_messages(server.mail, warmed.timing.deliveries + sample.timing.deliveries)
        return sample

    def has(self, *systems: str) -> bool:
        """Tell whether all of them can be measured."""
        return self.systems.issuperset(systems)

    def note(self, line: Line, system: str, value: float) -> None:
        """Add a sample to a line and tell it."""
        line.add(system, value)
        self.say(f"({line.row}) {line.what}: {system} {value:,.2f} {line.unit}")


def expect_messages(mail: Path, expected: int) -> None:
    """Raise RunFailed unless that many messages lie in the Maildirs: only stored mail counts."""
    found = 0
    with os.scandir(mail / DOMAIN) as maildirs:
        for maildir in maildirs:
            found += len(os.listdir(f"{maildir.path}/new")) + len(os.listdir(f"{maildir.path}/cur"))
    if found != expected:
        raise RunFailed(f"{mail}: {found} messages where {expected} were sent")
