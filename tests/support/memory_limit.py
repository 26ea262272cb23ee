"""Hard limits on the memory of a server: a control group where we may make one, else a limit of each process.

The control group is the stricter one. It counts everything of all processes of the server, files that they
read and wrote included, and the kernel kills at the limit. RLIMIT_DATA is there without any privilege: it
counts what each process has reserved, its threads' stacks included, touched or not, and makes it fail.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.support.polling import wait_for

_GROUPS = Path("/sys/fs/cgroup")


class ControlGroup:
    """A group of this test's own in the memory hierarchy, of version 2 or 1."""

    def __init__(self, octets: int) -> None:
        self._version = 2 if _offers_memory() else 1
        parent = _GROUPS if self._version == 2 else _GROUPS / "memory"
        self._folder = parent / f"lmtpd-test-{os.getpid()}"
        self._folder.mkdir()
        try:
            # Memory and swap: where there is swap, a limit on memory alone is none.
            limits = {2: ("memory.max", "memory.swap.max"), 1: ("memory.limit_in_bytes",)}[self._version]
            for name, value in zip(limits, (octets, 0), strict=False):
                (self._folder / name).write_text(str(value))
        except BaseException:
            self._folder.rmdir()
            raise

    @property
    def wrapper(self) -> Sequence[str]:
        """What is put before a command, so that it and all its children are in the group."""
        return ("/bin/sh", "-c", f'echo $$ > {self._folder}/cgroup.procs && exec "$@"', "sh")

    @property
    def kills(self) -> int:
        """How often the kernel has killed for want of memory."""
        name = {2: "memory.events", 1: "memory.oom_control"}[self._version]
        words = (self._folder / name).read_text(encoding="ascii").split()
        return int(words[words.index("oom_kill") + 1])

    def remove(self) -> None:
        """Remove the group, once its last process has ended."""
        processes = self._folder / "cgroup.procs"
        wait_for(lambda: not processes.read_text(encoding="ascii"), "the end of all processes of the group")
        self._folder.rmdir()


@contextmanager
def control_group(octets: int) -> Iterator[ControlGroup]:
    """Make a group with that limit; what is in it must have ended before the block does."""
    group = ControlGroup(octets)
    try:
        yield group
    finally:
        group.remove()


def data_limit(octets: int) -> Sequence[str]:
    """Return what is put before a command, so that no process of it can reserve more."""
    return ("prlimit", f"--data={octets}", "--")


def _offers_memory() -> bool:
    """Tell whether version 2 rules memory, and lets us make groups of our own that do."""
    control = _GROUPS / "cgroup.subtree_control"
    return control.exists() and "memory" in control.read_text(encoding="ascii").split()


def may_limit_memory() -> bool:
    """Try it once: containers often show the hierarchy and forbid to write to it."""
    try:
        with control_group(1 << 30):
            return True
    except OSError:
        return False
