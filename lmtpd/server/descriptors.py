"""File descriptors: as many as we may have, and one in reserve."""

import os
import resource
from contextlib import suppress


def open_reserve() -> int:
    """Open a descriptor to be given up when there are no more; -1 if there are none already."""
    try:
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return -1


def raise_descriptor_limit() -> None:
    """Take all descriptors that we may have: a connection with its message takes a few."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
