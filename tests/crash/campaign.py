"""The long run of `make soak`: part after part, each with a line that says what it came to.

`python -m tests.crash.campaign [PART...]` plays the parts named, or all. What has passed is written down in
run/soak/, in a folder for the commit, and is not played again there: a run that was stopped goes on where it
was. The exit code is 1 if anything was found, or fewer points were played than is promised.
"""

import argparse
import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.crash.tally import Tally
from tests.support.requirements import ROOT

BOOK = "SOAK_BOOK"  # in the environment: the file in which pytest notes what has passed; see conftest.py
PROCESSES = os.environ.get("TEST_PROCESSES", "2")
LOAD = re.compile(
    r"soak: ([\d,]+) messages, .*: (\d+) lost, (\d+) doubled, (\d+) partial, (\d+) otherwise wrong"
)
CAUGHT = "test_broken_build_is_caught["
HANGS_S = 1800  # a test of a long run may take minutes, beside other work many


@dataclass(frozen=True, slots=True)
class Entry:
    """One test that was played, or one program that was run."""

    name: str
    passed: bool
    seconds: float
    tally: Tally | None
    said: str = ""

    def as_json(self) -> str:
        """Return one line."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, line: str) -> "Entry":
        """Read it back."""
        found = json.loads(line)
        return cls(**{**found, "tally": Tally(**found["tally"]) if found["tally"] else None})


def entries(book: Path) -> list[Entry]:
    """Read a book; of what was played more than once, the last time counts."""
    lines = book.read_text(encoding="utf-8").splitlines() if book.exists() else []
    return list({entry.name: entry for entry in map(Entry.from_json, lines)}.values())


def write(book: Path, entry: Entry) -> None:
    """Append to a book."""
    with book.open("a", encoding="utf-8") as file:
        file.write(entry.as_json() + "\n")


# ---- the parts --------------------------------------------------------------------------------------

Part = Callable[[Path], bool]
"""Plays what is not yet in the book, and writes it there; returns whether all went well."""


def tests(*paths: str) -> Part:
    """Return the part that plays these tests, in full."""

    def play(book: Path) -> bool:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.crash.soak_book"]
        command += ["-n", PROCESSES, "--dist", "loadgroup", "-o", f"faulthandler_timeout={HANGS_S}", *paths]
        environment = {**os.environ, "SOAK": "1", BOOK: str(book)}
        code = _run(command, environment)
        return code in {0, 5}  # 5: no test is left to play

    return play


def programs(*commands: Sequence[str]) -> Part:
    """Return the part that runs these programs of ours."""

    def play(book: Path) -> bool:
        done = {entry.name for entry in entries(book)}
        for command in commands:
            name = " ".join(command)
            if name not in done:
                began = time.monotonic()
                said = book.with_suffix(".said")
                with said.open("w", encoding="utf-8") as file:
                    code = _run(
                        [sys.executable, "-m", *command], {**os.environ, "SOAK": "1"}, output=file.fileno()
                    )
                seconds = time.monotonic() - began
                words = said.read_text(encoding="utf-8").strip()
                if code:
                    sys.stdout.write(f"{name}: exit code {code}\n{words[-4000:]}\n")
                    return False
                told, tally = telling(words)
                write(book, Entry(name, True, seconds, tally, told))
        return True

    return play


def telling(words: str) -> tuple[str, Tally | None]:
    """Return the line in which a program says what it came to; or, if that can be added up, the counts."""
    for line in reversed(words.splitlines()):
        if counts := LOAD.match(line):
            points, *wrong = (int(count.replace(",", "")) for count in counts.groups())
            return "", Tally(points, *wrong)
        if line.startswith(("idle: ", "Done ")):
            return line, None
    return "", None


def _run(command: Sequence[str], environment: dict[str, str], *, output: int | None = None) -> int:
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
    )
    try:
        return process.wait()
    except BaseException:
        process.send_signal(signal.SIGINT)  # so that nothing stays mounted
        process.wait()
        raise


_CRASH, _FUZZ = "tests/crash/test_", ("session", "address", "body")
_SEEDS = "0123456789"  # shares, so that a run that was stopped goes on
_ERRORS = ("injected_errors", "injected_errors_each_call", "real_faults")
_TEETH = ("teeth", "teeth_cuts", "comparison", "order", "nothing_unseen", "oracle")
# Part: how many points at least, and how it is played.
PARTS: dict[str, tuple[int, Part]] = {
    "kills": (10_000, tests(f"{_CRASH}kill_points.py")),
    "cuts": (20_000, tests(f"{_CRASH}power_cuts.py")),
    "errors": (0, tests(*(f"{_CRASH}{name}.py" for name in _ERRORS))),
    "teeth": (0, tests(*(f"{_CRASH}{name}.py" for name in _TEETH))),
    "load": (
        100_000,
        programs(*(["tests.crash.soak", "--messages", "10000", "--seed", seed] for seed in _SEEDS)),
    ),
    "hostile": (0, tests("tests/hostile")),
    "idle": (0, programs(["tests.hostile.idle_rate"])),
    "fuzz": (0, programs(*(["tests.hostile.fuzz", target, "-max_total_time=600"] for target in _FUZZ))),
}


UNITS = {**dict.fromkeys(PARTS, "points"), "load": "messages"}


def summary(part: str, book: Path, *, least: int) -> tuple[str, bool]:
    """Return the line of a part, and whether it came to what is promised."""
    played = entries(book)
    tally = sum((entry.tally for entry in played if entry.tally), Tally())
    failed = [entry.name for entry in played if not entry.passed]
    words = [f"{len(played)} played, {len(failed)} failed, {sum(e.seconds for e in played):,.0f} s"]
    words += [tally.told(UNITS[part])] if tally.points else []
    caught = sum(entry.passed for entry in played if CAUGHT in entry.name)
    words += [f"{caught} broken builds caught"] if caught else []
    words += [entry.said for entry in played if entry.said]
    words += [f"FEWER than the {least:,} that are promised"] if tally.points < least else []
    return f"{part}: {'; '.join(words)}", not failed and tally.points >= least


def commit() -> str:
    """Name what is tested; changes that are not committed are told, but not told apart."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def main() -> int:
    """Run as a program."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash.campaign", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"all, or some of: {', '.join(PARTS)}")
    parser.add_argument("--anew", action="store_true", help="play again what has passed")
    options = parser.parse_args()
    if unknown := set(options.parts) - PARTS.keys():
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    folder = ROOT / "run" / "soak" / commit()
    folder.mkdir(parents=True, exist_ok=True)
    lines, good = [], True
    for part in options.parts or PARTS:
        book = folder / f"{part}.jsonl"
        if options.anew:
            book.unlink(missing_ok=True)
        least, play = PARTS[part]
        good = play(book) and good
        line, enough = summary(part, book, least=least)
        good = good and enough
        lines.append(line)
        sys.stdout.write(f"{line}\n")
    sys.stdout.write(
        "\n".join([f"\nsoak of {folder.name}: {'all is well' if good else 'FAILED'}", *lines, ""])
    )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
