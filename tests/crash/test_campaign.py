"""The long run counts right, notices what is missing, and goes on where it was."""

import os
import subprocess
import sys
from pathlib import Path

from tests.crash.campaign import BOOK, Entry, entries, summary, telling, write
from tests.crash.oracle import Kind, Violation
from tests.crash.points import Point, Result
from tests.crash.shim import Action
from tests.crash.tally import Tally
from tests.support.requirements import ROOT

# Played by an inner pytest: notes points, and fails as long as a file is missing.
INNER = """
import os
import pytest
from tests.crash.tally import Tally


@pytest.mark.parametrize("number", [1, 2])
def test_points(number, record_property):
    record_property("tally", {"points": number, "lost": 0, "doubled": 0, "partial": 0, "other": 0})


def test_later():
    assert os.path.exists(os.environ["REPAIRED"])
"""


LOST = "0 lost, 1 doubled, 0 partial, 0 otherwise wrong"


def result(*kinds: Kind) -> Result:
    violations = tuple(Violation(kind, "I1", "m0") for kind in kinds)
    return Result("scene", Point(action=Action.KILL, at=1), None, None, violations, (), 0.0)


def test_a_point_counts_once_for_each_kind_of_wrong():
    results = [result(), result(Kind.LOST, Kind.LOST, Kind.PARTIAL), result(Kind.DOUBLED, Kind.LEDGER)]

    assert Tally.of(results) == Tally(points=3, lost=1, doubled=1, partial=1, other=1)
    assert Tally.of(results) + Tally(points=2, lost=1) == Tally(5, 2, 1, 1, 1)


def test_a_part_that_played_too_little_has_failed(tmp_path: Path):
    book = tmp_path / "kills.jsonl"
    write(book, Entry("a", True, 1.0, Tally(points=99)))

    assert not summary("kills", book, least=100)[1]
    assert summary("kills", book, least=99)[1]


def test_a_part_with_a_failure_has_failed_until_it_passes(tmp_path: Path):
    book = tmp_path / "kills.jsonl"
    write(book, Entry("a", False, 1.0, Tally(points=1, lost=1)))
    line, good = summary("kills", book, least=0)
    assert not good
    assert "1 points, 1 lost" in line

    write(book, Entry("a", True, 1.0, Tally(points=1)))

    line, good = summary("kills", book, least=0)
    assert good
    assert "1 points, 0 lost" in line


def test_messages_of_the_load_are_added_up(tmp_path: Path):
    book = tmp_path / "load.jsonl"
    for seed in "12":
        said, tally = telling(f"I5 doubled: m7\nsoak: 10,020 messages, 9 kills, 60 s, seed {seed}: {LOST}\n")
        write(book, Entry(seed, True, 60.0, tally, said))

    assert "20,040 messages, 0 lost, 2 doubled" in summary("load", book, least=0)[0]
    assert not summary("load", book, least=20_041)[1]


def test_broken_builds_that_were_caught_are_counted(tmp_path: Path):
    book = tmp_path / "teeth.jsonl"
    for name, passed in (("no barrier", True), ("no parent sync", True), ("retried sync", False)):
        write(
            book, Entry(f"tests/crash/test_teeth.py::test_broken_build_is_caught[{name}]", passed, 1.0, None)
        )

    assert "2 broken builds caught" in summary("teeth", book, least=0)[0]


def test_what_has_passed_is_not_played_again(tmp_path: Path):
    (tmp_path / "test_inner.py").write_text(INNER)
    book, repaired = tmp_path / "book.jsonl", tmp_path / "repaired"
    environment = {**os.environ, BOOK: str(book), "REPAIRED": str(repaired), "PYTHONPATH": str(ROOT)}
    environment.pop("PYTEST_XDIST_WORKER", None)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.crash.soak_book", "-p", "no:cacheprovider"]

    def play(*options: str) -> str:
        done = subprocess.run(
            [*command, *options, "test_inner.py"],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout

    assert "2 passed" in play("-n", "2")
    assert [entry.passed for entry in entries(book)].count(False) == 1
    repaired.touch()

    assert "1 passed, 2 deselected" in play()

    line, good = summary("kills", book, least=3)
    assert good
    assert "3 played, 0 failed" in line
    assert "3 points, 0 lost" in line
