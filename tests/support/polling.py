"""Waiting for other programs: until a condition holds, never for a guessed time."""

import os
import time
from collections.abc import Callable
from typing import TypeVar

# A long run has time, and may be nothing but what others leave of the processors.
PATIENCE = 10 if os.environ.get("SOAK") == "1" else 1

T = TypeVar("T")


class Overdue(AssertionError):
    """What was waited for did not happen in time."""


def wait_for(
    condition: Callable[[], T | None], what: str, *, deadline_s: float = 20.0, every_s: float = 0.01
) -> T:
    """Return the condition's first true value; raise Overdue, naming what was missing, at the deadline."""
    end = time.monotonic() + deadline_s
    while True:
        if found := condition():
            return found
        if time.monotonic() > end:
            raise Overdue(f"{what}: not within {deadline_s:g} s")
        time.sleep(every_s)
