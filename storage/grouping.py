"""Work that several threads want at once is done once for all of them.

Leader and follower: the first thread that comes does the work. Who comes while it is being done waits,
gathering; when it is done, one of those who wait does it for all of them. So a batch grows by itself to
what arrives during one turn; there is no timer, no extra thread, and a thread that is alone goes through
without meeting another.

The rule for durability: a turn serves only those who came before it began.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Generic, TypeVar, cast

T = TypeVar("T")
R = TypeVar("R")


class WorkInterrupted(Exception):
    """The thread that worked for us was stopped; whether our item was dealt with is unknown."""


class GroupedWork(Generic[T, R]):
    """Performs items in batches, each batch in one of the threads that submitted it.

    perform gets the items in order of arrival and returns a result for each, or None for all; it is
    never called by two threads at once. Its items must not be changed by it.
    """

    __slots__ = ("_busy", "_gathering", "_lock", "_perform")

    def __init__(self, perform: Callable[[list[T]], Sequence[R] | None]) -> None:
        self._perform = perform
        self._lock = Lock()  # guards what follows and every batch's waiters and leader; never held at work
        self._busy = False  # a turn is running, or a waiting thread has been called to lead the next
        self._gathering: _Batch[T, R] | None = None  # the next turn, as long as it takes in

    def submit(self, item: T) -> R:
        """Return item's result once a batch that contains it was performed, begun after this call.

        When perform raises, every submitter of the batch gets the exception: its leader the exception
        itself, the others a copy of it. If the leader was stopped by something else than an Exception
        (KeyboardInterrupt), the others get WorkInterrupted.
        """
        with self._lock:
            leads = not self._busy
            if leads:
                self._busy = True
                batch: _Batch[T, R] = _Batch()
            else:
                batch = self._gathering or _Batch()
                self._gathering = batch
            place = batch.add(item, leads=leads)
        if leads or self._wait(batch, place):
            self._lead(batch)
        return batch.result(place)

    def _wait(self, batch: _Batch[T, R], place: int) -> bool:
        """Wait until the batch was performed (False) or this thread is called to perform it (True)."""
        waiter = batch.waiters[place]
        assert waiter is not None
        try:
            waiter.acquire()
        except BaseException:
            # An interrupted thread leaves; if it has been called to lead, somebody else must.
            with self._lock:
                batch.waiters[place] = None
                if batch.leader == place:
                    self._call_leader(batch)
            raise
        if batch.leader != place:
            return False
        with self._lock:
            self._gathering = None  # whoever comes from now on may come too late
        return True

    def _lead(self, batch: _Batch[T, R]) -> None:
        try:
            results = self._perform(batch.items)
            if results is not None and len(results) != len(batch.items):
                raise ValueError(f"{len(batch.items)} items, {len(results)} results")
            batch.results = results
            batch.performed = True
        except BaseException as exc:
            batch.error = exc
            raise
        finally:
            # The next turn first: its work takes longer than waking up.
            with self._lock:
                if self._gathering is None:
                    self._busy = False
                else:
                    self._call_leader(self._gathering)
            batch.wake_followers()

    def _call_leader(self, batch: _Batch[T, R]) -> None:
        """Wake one of the threads that wait in the gathering batch, to lead it. Under the lock."""
        for place, waiter in enumerate(batch.waiters):
            if waiter is not None:
                batch.leader = place
                waiter.release()
                return
        # All have left, with their exceptions; nobody is there to do it, nor to miss it.
        self._gathering = None
        self._busy = False


class _Batch(Generic[T, R]):
    """The items of one turn, and who waits for it: a lock each, which is released to wake the thread."""

    __slots__ = ("error", "items", "leader", "performed", "results", "waiters")

    def __init__(self) -> None:
        self.items: list[T] = []
        self.waiters: list[Lock | None] = []  # None: the first leader, or one that has left
        self.leader: int | None = None  # the place of the thread that was called to lead
        self.performed = False
        self.results: Sequence[R] | None = None
        self.error: BaseException | None = None

    def add(self, item: T, *, leads: bool) -> int:
        """Add an item, under the lock; return its place."""
        place = len(self.items)
        self.items.append(item)
        if leads:
            self.waiters.append(None)
        else:
            waiter = Lock()
            waiter.acquire()
            self.waiters.append(waiter)
        return place

    def wake_followers(self) -> None:
        """Wake all who wait but the leader, who does this."""
        for place, waiter in enumerate(self.waiters):
            if waiter is not None and place != self.leader:
                waiter.release()

    def result(self, place: int) -> R:
        """Return or raise what came of an item."""
        if self.performed:
            # perform gave None for all only where R is None.
            return cast(R, None) if self.results is None else self.results[place]
        if isinstance(self.error, Exception):
            raise _for_another_thread(self.error) from self.error
        raise WorkInterrupted("the thread that did the work was stopped") from self.error


def _for_another_thread(error: Exception) -> Exception:
    """Copy an exception: two threads that raise one object write into one traceback."""
    try:
        return copy.copy(error)
    except Exception:  # noqa: BLE001 (whatever its class makes of it; a shared traceback is the lesser evil)
        return error
