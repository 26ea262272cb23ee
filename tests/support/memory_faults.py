"""Which calls of a `MemoryDisk` go wrong, and how."""

from dataclasses import dataclass


class PowerCut(BaseException):
    """The machine is off. Not an Exception: nothing in the program may go on after it."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What a call raises: instead of what it should do, or after it has done it."""

    raising: BaseException
    after_effect: bool
    for_ever: bool


class Faults:
    """Counts calls, and knows what shall happen to the n-th. Not for two threads at once."""

    def __init__(self) -> None:
        self.log: list[tuple[str, str]] = []
        self.is_off = False
        self._planned: dict[int, Fault] = {}

    def plan(self, at: int, fault: Fault) -> None:
        """Let a fault happen at the at-th call of the log, from 1."""
        self._planned[at] = fault

    def next(self, call: str, where: str) -> Fault | None:
        """Count one call; return what shall go wrong with it. After a power cut everything does."""
        if self.is_off:
            raise PowerCut
        self.log.append((call, where))
        fault = self._planned.pop(len(self.log), None)
        if fault is None:
            return None
        self.is_off = isinstance(fault.raising, PowerCut)
        if fault.for_ever:
            self.plan(len(self.log) + 1, fault)
        return fault

    def clear(self) -> None:
        """Switch on again: nothing was called, nothing is planned."""
        self.log.clear()
        self._planned.clear()
        self.is_off = False
