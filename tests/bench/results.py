"""What was measured, against what was promised: samples, ratios, targets."""

import os
import platform
import statistics
import subprocess
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

OURS = "lmtpd"
FLOOR = "floor"
VIRTUAL = "virtual(8)"
DOVECOT = "Dovecot"
SYSTEMS = (FLOOR, VIRTUAL, DOVECOT, OURS)


@dataclass(frozen=True, slots=True)
class Target:
    """A promise about our number itself, or about its ratio to another system's."""

    at_least: float | None = None
    at_most: float | None = None
    of: str | None = None

    def __str__(self) -> str:
        sign, number = (">=", self.at_least) if self.at_least is not None else ("<=", self.at_most)
        return f"{sign} {number:g}" + (f" x {self.of}" if self.of else "")


@dataclass(slots=True)
class Line:
    """One line of the table. The k-th samples of the systems were taken one after the other: they pair."""

    row: str
    what: str
    unit: str
    targets: tuple[Target, ...] = ()
    samples: dict[str, list[float]] = field(default_factory=dict)

    def add(self, system: str, value: float) -> None:
        """Note one more sample."""
        self.samples.setdefault(system, []).append(value)

    def median(self, system: str) -> float | None:
        """Return the median of a system's samples."""
        values = self.samples.get(system)
        return statistics.median(values) if values else None

    def ratio(self, system: str, other: str) -> float | None:
        """Return the median of a system's ratios to another, pair by pair."""
        pairs = zip(self.samples.get(system, ()), self.samples.get(other, ()), strict=False)
        # A difference, such as the growth of memory, may come out below zero: then a ratio says nothing.
        ratios = [ours / theirs for ours, theirs in pairs if ours > 0 and theirs > 0]
        return statistics.median(ratios) if ratios else None

    def meets(self, target: Target) -> bool | None:
        """Tell whether the target is met, or None where that was not measured."""
        value = self.ratio(OURS, target.of) if target.of else self.median(OURS)
        if value is None:
            return None
        if target.at_least is not None:
            return value >= target.at_least
        return target.at_most is None or value <= target.at_most


def machine(folder: Path, busy: float) -> dict[str, str]:
    """Describe where the numbers were taken: they mean little elsewhere."""
    kernel = platform.uname()
    return {
        "processors": f"{os.cpu_count()} x {_processor_model()}",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GB",
        "file system": _file_system(folder),
        "kernel": f"{kernel.system} {kernel.release}",
        "Python": platform.python_version(),
        "Dovecot": _first_line("dovecot", "--version"),
        "Postfix": _first_line("postconf", "-dh", "mail_version"),
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "other work": f"{busy:.0%} of the processors when the run began",
    }


def busy_share(*, during_s: float = 1.0) -> float:
    """Measure how much of the machine's processor time others use while we do nothing."""
    before, idle_before = _processor_ticks()
    time.sleep(during_s)
    after, idle_after = _processor_ticks()
    return 1 - (idle_after - idle_before) / max(1, after - before)


def _processor_ticks() -> tuple[int, int]:
    """Return all ticks, and those in which a processor had nothing to do or waited for a disk (proc(5))."""
    ticks = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return sum(ticks), ticks[3] + ticks[4]


def _processor_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(": ")[2]
    return platform.machine()


def _file_system(folder: Path) -> str:
    """Return the type, device and options of the mount that holds the folder."""
    best = ("", "unknown")
    for line in Path("/proc/self/mounts").read_text().splitlines():
        device, point, kind, options = line.split()[:4]
        if folder.resolve().is_relative_to(point) and len(point) >= len(best[0]):
            best = (point, f"{kind} on {device} ({options})")
    return best[1]


def _first_line(*command: str) -> str:
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"])
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=20, env={**os.environ, "PATH": path}
        )
    except FileNotFoundError:
        return "not installed"
    return (done.stdout.splitlines() or ["unknown"])[0]


def as_json(facts: dict[str, str], lines: Iterable[Line]) -> dict[str, Any]:  # Any: it is JSON
    """Return everything that was measured, each sample of it."""
    return {
        "machine": facts,
        "lines": [
            {
                **asdict(line),
                "targets": [{"target": str(target), "met": line.meets(target)} for target in line.targets],
            }
            for line in lines
        ],
    }
