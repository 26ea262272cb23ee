"""What the crash tests share: one shim and one nursery for each process of pytest."""

import dataclasses
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.crash.mounts import roomy_folder
from tests.crash.nursery import Nursery
from tests.crash.shim import Shim
from tests.crash.tally import Judged, Tally


@pytest.fixture
def folder_in_memory() -> Iterator[Path]:
    """A folder whose syncs cost nothing: a kill, unlike a power cut, takes nothing that was written."""
    with tempfile.TemporaryDirectory(prefix="lmtpd-crash-", dir=roomy_folder()) as name:
        yield Path(name)


@pytest.fixture
def note(record_property: Callable[[str, object], None]) -> Callable[[Sequence[Judged]], None]:
    """Count the points of this test, for the summary of a long run."""
    return lambda results: record_property("tally", dataclasses.asdict(Tally.of(results)))


@pytest.fixture(scope="session")
def shim() -> Iterator[Shim]:
    with Shim() as shim:
        yield shim


@pytest.fixture(scope="session")
def lmtpd_nursery(shim: Shim) -> Iterator[Nursery]:
    """Forks lmtpd servers that the shim sees."""
    with Nursery("lmtpd", "storage", "sqlite_utils", environment=shim.environment) as nursery:
        yield nursery


@pytest.fixture(scope="session")
def standin_nursery(shim: Shim) -> Iterator[Nursery]:
    """Forks stand-ins that the shim sees."""
    with Nursery("tests.crash.standin", environment=shim.environment) as nursery:
        yield nursery
