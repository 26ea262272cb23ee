"""The long run in short: what `make soak` does with 100,000 messages."""

from pathlib import Path

import pytest

from tests.crash.soak import Soak


@pytest.mark.parametrize("seed", [1, 2])
def test_random_kills_under_load_lose_nothing_and_double_nothing(tmp_path: Path, seed: int):
    soak = Soak(tmp_path, messages=800, kill_every_s=(0.05, 0.5), seed=seed)

    violations = soak.run()

    assert violations == []
    assert soak.kills >= 3
