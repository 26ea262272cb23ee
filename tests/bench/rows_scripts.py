"""Row (s): the admin scripts that look at every message's name, beside find(1) over the same tree.

The tree is that of a large site: many Maildirs with a thousand messages each. The files are empty but for a
length, since no script that is measured here reads them.
"""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.bench.bench import Bench
from tests.bench.results import FLOOR, OURS, Line, Target
from tests.support.requirements import ROOT

MAILDIRS, MESSAGES = 1_000, 1_000
OCTETS = 3_000
SCRIPTS: dict[str, list[str]] = {"check": [], "stats": [], "quota": ["--count"]}
# find(1) looks at every file's status, as a check must.
WITHIN = Target(at_most=2, of=FLOOR)
# Of 1,000 Maildirs no more is remembered than of 10.
FLAT = Target(at_most=1.25)


def names_and_status(bench: Bench) -> None:
    """Let find and the scripts take turns on the tree, all of it in the kernel's memory."""
    maildirs = bench.size(MAILDIRS)
    what = f"{maildirs * MESSAGES:,} messages in {maildirs:,} Maildirs"
    root = bench.fresh("tree")
    _plant(root, maildirs)
    find = ["find", str(root), "-printf", r"%s %T@ %p\n"]
    _seconds(find)
    for name in SCRIPTS:
        line = bench.line(Line("s", f"maildir-{name} --all, {what}, beside find", "s", (WITHIN,)))
        for _ in range(bench.rounds):
            bench.note(line, FLOOR, _seconds(find))
            bench.note(line, OURS, _seconds(_script(name, f"{root}/{{user}}")))


def memory_is_flat(bench: Bench) -> None:
    """Compare the largest process over a hundredth of a tree with that over all of it."""
    maildirs = bench.size(MAILDIRS)
    few, many = bench.fresh("few"), bench.fresh("many")
    _plant(few, max(1, maildirs // 100))
    _plant(many, maildirs)
    for name in SCRIPTS:
        what = f"maildir-{name}: memory over {maildirs:,} Maildirs, instead of a hundredth"
        line = bench.line(Line("s", what, "x usual cost", (FLAT,)))
        sizes = [_largest_mb(_script(name, f"{root}/{{user}}")) for root in (few, many)]
        bench.say(f"(s) maildir-{name}: {sizes[0]:.0f} MB, {sizes[1]:.0f} MB")
        bench.note(line, OURS, sizes[1] / sizes[0])


def _script(name: str, template: str) -> list[str]:
    code = f"import sys; from scripts.{name} import main; sys.exit(main())"
    return [sys.executable, "-c", code, "--all", "--mailboxes", template, *SCRIPTS[name]]


def _seconds(command: Sequence[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def _largest_mb(command: Sequence[str]) -> float:
    """Run a command in a process whose only child it is; return the peak of it and of its workers."""
    code = (
        "import resource, subprocess, sys;"
        "subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *command], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return int(done.stdout) / 1024


def _plant(root: Path, maildirs: int) -> None:
    for number in range(maildirs):
        maildir = root / f"u{number:06d}"
        for part in ("tmp", "new", "cur"):
            (maildir / part).mkdir(parents=True, mode=0o700)
        maildir.chmod(0o700)
        cur = os.open(maildir / "cur", os.O_RDONLY | os.O_DIRECTORY)
        try:
            for message in range(MESSAGES):
                arrived = 1_600_000_000 + 86_400 * message
                name = f"{arrived}.M{message:06d}P1Q{message}R0123456789abcdef.bench,S={OCTETS},W=3050:2,S"
                fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=cur)
                os.ftruncate(fd, OCTETS)
                os.close(fd)
        finally:
            os.close(cur)
