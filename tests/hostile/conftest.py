"""What the tests with hostile clients and mailboxes share."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.mounts import roomy_folder
from tests.support.server import Server


@pytest.fixture
def folder_in_memory() -> Iterator[Path]:
    """A folder whose syncs cost nothing: nothing is cut here."""
    with tempfile.TemporaryDirectory(prefix="lmtpd-hostile-", dir=roomy_folder()) as name:
        yield Path(name)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """One real server, for all tests of a module that do it no harm."""
    folder = tempfile.TemporaryDirectory(prefix="lmtpd-hostile-", dir=roomy_folder())
    with folder as name, Server(Path(name), flags=["--workers", "1"]) as server:
        yield server
