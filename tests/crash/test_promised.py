"""A complete run that plays too few points fails; a selection does not."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.requirements import ROOT

# Played by an inner pytest.
INNER = """
import pytest


@pytest.mark.parametrize("part", [1, 2])
def test_points(part, record_property):
    record_property("tally", {{"points": {points}, "lost": 0, "doubled": 0, "partial": 0, "other": 0}})
"""
SKIPPED = """
import pytest


@pytest.mark.skip
def test_points():
    pass
"""


def play(folder: Path, *options: str, kills: int, cuts: int | None = 150) -> tuple[int, str]:
    """Run the folder's tests, half of the points in each; cuts None: they are skipped."""
    tests = folder / "tests" / "crash"
    tests.mkdir(parents=True)
    (tests / "test_kill_points.py").write_text(INNER.format(points=kills))
    (tests / "test_power_cuts.py").write_text(SKIPPED if cuts is None else INNER.format(points=cuts))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("PYTEST_XDIST_WORKER", None)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.crash.promised", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "--rootdir", str(folder), *(options or ["tests"])],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def test_a_complete_run_that_plays_what_is_promised_passes(tmp_path: Path):
    assert play(tmp_path, kills=250)[0] == 0


@pytest.mark.parametrize("options", [["tests"], ["tests/crash", "-n", "2"]], ids=["alone", "xdist"])
def test_a_complete_run_that_plays_too_little_fails(tmp_path: Path, options: list[str]):
    code, said = play(tmp_path, *options, kills=249)

    assert code == 1
    assert "498 kill points were played of the 500 that are promised" in said
    assert "4 passed" in said
    assert "power cuts" not in said


@pytest.mark.parametrize("options", [["tests", "-k", "points"], ["tests/crash/test_kill_points.py"]])
def test_a_selection_may_play_less(tmp_path: Path, options: list[str]):
    assert play(tmp_path, *options, kills=1)[0] == 0


def test_what_is_skipped_is_not_asked_for(tmp_path: Path):
    assert play(tmp_path, kills=250, cuts=None)[0] == 0
