"""Transactions whose replies are sent, and that wait for the proof that the client has read them."""

from typing import Protocol

# Of one connection. A client that never waits for us leaves all of its transactions unproven.
WAITING_TRANSACTIONS = 16


class Answered(Protocol):
    """A transaction after its last reply."""

    def confirm(self) -> None:
        """Forget it: its client will not send it again."""

    def release(self) -> None:
        """Keep its record, to recognise the retry."""


class Unproven:
    """The transactions of one connection that wait."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: list[Answered] = []

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, transaction: Answered) -> None:
        """Let it wait; the oldest of too many is released."""
        self._waiting.append(transaction)
        if len(self._waiting) > WAITING_TRANSACTIONS:
            self._waiting.pop(0).release()

    def confirm(self) -> None:
        """The proof has come, for all of them: replies are read in order."""
        for transaction in self._waiting:
            transaction.confirm()
        self._waiting.clear()

    def release(self) -> None:
        """The connection has ended without it."""
        for transaction in self._waiting:
            transaction.release()
        self._waiting.clear()
