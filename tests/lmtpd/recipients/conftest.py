"""A mailbox root with one mailbox in it."""

from pathlib import Path

import pytest


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "mail/example.org/alice/cur").mkdir(parents=True)
    return tmp_path / "mail"
