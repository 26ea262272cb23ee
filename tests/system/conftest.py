"""What the system tests share: one mail site for all that run in the same process."""

from collections.abc import Iterator

import pytest

from tests.support.site import Site, running_site


@pytest.fixture(scope="session")
def site() -> Iterator[Site]:
    with running_site() as site:
        yield site
