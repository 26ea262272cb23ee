"""Counting what the points of a test, and all of a long run, came to."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from tests.crash.oracle import Kind, Violation

WORST = (Kind.LOST, Kind.DOUBLED, Kind.PARTIAL)


class Judged(Protocol):
    """One point's result."""

    @property
    def violations(self) -> tuple[Violation, ...]:
        """What is wrong."""


@dataclass(slots=True)
class Tally:
    """How many points were played, and at how many of them what went wrong."""

    points: int = 0
    lost: int = 0
    doubled: int = 0
    partial: int = 0
    other: int = 0

    @classmethod
    def of(cls, results: Iterable[Judged]) -> "Tally":
        """Count each point once for each kind of wrong."""
        tally = cls()
        for result in results:
            tally.points += 1
            tally.see(result.violations)
        return tally

    def see(self, violations: Iterable[Violation]) -> None:
        """Count the kinds among them."""
        kinds = {violation.kind for violation in violations}
        self.lost += Kind.LOST in kinds
        self.doubled += Kind.DOUBLED in kinds
        self.partial += Kind.PARTIAL in kinds
        self.other += bool(kinds - set(WORST))

    def __add__(self, more: "Tally") -> "Tally":
        return Tally(*(getattr(self, name) + getattr(more, name) for name in self.__slots__))

    def told(self, unit: str) -> str:
        """Say it."""
        return (
            f"{self.points:,} {unit}, {self.lost} lost, {self.doubled} doubled, {self.partial} partial, "
            f"{self.other} otherwise wrong"
        )
