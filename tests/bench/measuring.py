"""What processes cost: processor time, memory, system calls; read from outside, by /proc and strace."""

import os
import re
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.support.polling import wait_for
from tests.support.requirements import program

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
KIB_PER_MB = 1024


def family(root: int) -> list[int]:
    """Return a process and all its living descendants."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            # A process may end while we look.
            with suppress(OSError):
                children.setdefault(int(_fields(int(name))[1]), []).append(int(name))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def processor_s(root: int) -> float:
    """Return the processor time that a process and its descendants have used, ended ones included."""
    ticks = 0
    for pid in family(root):
        with suppress(OSError):
            # utime, stime, and of children that ended and were waited for: cutime, cstime (proc(5)).
            ticks += sum(int(field) for field in _fields(pid)[11:15])
    return ticks / TICKS_PER_S


def _fields(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the state on: the name before it may contain anything."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident memory of a server in MB."""

    together: float  # proportional: pages shared by several processes count once
    largest: float  # of the largest process, resident pages shared or not
    processes: int


def memory(root: int) -> Memory:
    """Read how much memory a process and its descendants use now."""
    together, largest, processes = 0, 0, 0
    for pid in family(root):
        with suppress(OSError):
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
            together += _kib(text, "Pss")
            largest = max(largest, _kib(text, "Rss"))
            processes += 1
    return Memory(together / KIB_PER_MB, largest / KIB_PER_MB, processes)


def _kib(text: str, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB", text, re.MULTILINE)
    return int(found[1]) if found else 0


@dataclass(frozen=True, slots=True)
class Strace:
    """Counts the system calls of a server that is started under it.

    The calls that are not counted run at full speed (seccomp-bpf), so when only the syncs are counted, about
    as many of them meet and are shared as without strace. The tracer is no parent of the server and in a
    session of its own: signals go to the server, and the tracer ends when the server's last process has.
    """

    output: Path
    only: str = "all"

    def wrapper(self) -> list[str]:
        """Return what is put before the server's command."""
        command = [program("strace"), "--daemonize=session", "--follow-forks", "--seccomp-bpf"]
        return [*command, "--summary-only", f"--trace={self.only}", f"--output={self.output}"]

    def counts(self) -> Counter[str]:
        """Return the calls by name; wait for the table, which is written when the server has ended."""
        return wait_for(lambda: parse_summary(self.output.read_text()), "the table of strace")


def parse_summary(text: str) -> Counter[str]:
    """Return the calls by name from the table of `strace -c`."""
    counts: Counter[str] = Counter()
    for line in text.splitlines():
        fields = line.split()
        # "% time", seconds, usecs/call, calls, [errors], name
        if len(fields) in {5, 6} and fields[3].isdigit() and fields[-1] != "total":
            counts[fields[-1]] = int(fields[3])
    return counts
