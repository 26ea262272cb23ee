"""What the crash tests share: one shim and one nursery for each process of pytest."""

from collections.abc import Iterator

import pytest

from tests.crash.nursery import Nursery
from tests.crash.shim import Shim


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
