"""A clock that a test moves by hand."""


class Clock:
    """Call it for the time."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now
