"""What several tests of the server need."""

from collections.abc import Callable, Iterator, Sequence

import pytest

from lmtpd.server.listeners import Configured, Listening, open_listeners

Open = Callable[..., list[Listening]]


@pytest.fixture
def opened() -> Iterator[Open]:
    """Open listeners; whatever a test leaves open is closed."""
    held: list[Listening] = []

    def open_and_keep(*wanted: Configured, before: Sequence[Listening] = ()) -> list[Listening]:
        listeners = open_listeners(wanted, held=before)
        held.extend(listeners)
        return listeners

    yield open_and_keep
    for listening in held:
        listening.close()
