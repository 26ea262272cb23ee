"""A short run of the fuzzers over their corpora; `make soak` runs each for ten minutes."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hostile.fuzz import CORPUS
from tests.hostile.fuzz_targets import TARGETS
from tests.support.requirements import ROOT

pytestmark = pytest.mark.slow

HAS_ATHERIS = importlib.util.find_spec("atheris") is not None
# By number, not by time: on a busy machine a short run finds no less.
RUNS = {"session": 1_500, "address": 30_000, "body": 3_000}


def test_every_target_has_a_corpus():
    assert {path.name for path in CORPUS.iterdir() if path.is_dir()} == TARGETS.keys() == RUNS.keys()


@pytest.mark.skipif(not HAS_ATHERIS, reason="Atheris has no wheel for this Python or processor")
@pytest.mark.parametrize("target", TARGETS)
def test_nothing_is_found(target: str, tmp_path: Path):
    command = [sys.executable, "-m", "tests.hostile.fuzz", target, "--folder", str(tmp_path)]
    command += ["-seed=1", f"-runs={RUNS[target]}"]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr[-4000:]
    assert f"Done {RUNS[target]} runs" in done.stderr
