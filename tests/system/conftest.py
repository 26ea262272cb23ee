"""What the system tests share: one mail site for all that run in the same process."""

from collections.abc import Iterator

import pytest

from tests.support.postgresql import Postgresql, postgresql
from tests.support.site import Site, running_site
from tests.support.slapd import Slapd, slapd


@pytest.fixture(scope="session")
def site() -> Iterator[Site]:
    with running_site() as site:
        yield site


@pytest.fixture(scope="session")
def database() -> Iterator[Postgresql]:
    with postgresql() as instance:
        yield instance


@pytest.fixture(scope="session")
def directory() -> Iterator[Slapd]:
    with slapd() as instance:
        yield instance
