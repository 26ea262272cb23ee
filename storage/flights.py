"""What one process knows in memory of its deliveries: the keys in flight, and the endings to write down.

A key is in flight, or its ending waits for the next batch, or neither; each step is taken under one
mutex, which is never held while a file is touched.
"""

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from storage.ledger_tables import Record


@dataclass(frozen=True, slots=True)
class Endings:
    """Keys whose flight has ended."""

    deletes: list[bytes]  # their records go
    releases: list[bytes]  # their records stay, without an owner


class Flights:
    """The keys in flight in this process; any thread may call any method."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._keys: set[bytes] = set()
        self._deletes: list[bytes] = []
        self._releases: list[bytes] = []

    def take(self, records: Sequence[Record]) -> list[bool]:
        """Put the records' keys in flight; tell of each whether it was free."""
        free: list[bool] = []
        with self._mutex:
            for record in records:
                is_free = record.key not in self._keys
                if is_free:
                    self._keys.add(record.key)
                free.append(is_free)
        return free

    def forget(self, keys: Iterable[bytes]) -> None:
        """Take keys out of flight that never had a record of ours."""
        with self._mutex:
            self._keys.difference_update(keys)

    def end(self, keys: Iterable[bytes]) -> None:
        """End flights whose records shall go; keys that are not in flight are ignored."""
        self._end(keys, self._deletes)

    def end_unconfirmed(self, keys: Iterable[bytes]) -> None:
        """End flights whose records shall stay; keys that are not in flight are ignored."""
        self._end(keys, self._releases)

    @property
    def has_endings(self) -> bool:
        """Tell whether an ending waits to be written down."""
        return bool(self._deletes or self._releases)

    @property
    def is_idle(self) -> bool:
        """Tell whether nothing is in flight."""
        return not self._keys

    def take_endings(self) -> Endings:
        """Hand over what is to be written down."""
        with self._mutex:
            endings = Endings(self._deletes.copy(), self._releases.copy())
            self._deletes.clear()
            self._releases.clear()
        return endings

    def put_back(self, endings: Endings) -> None:
        """Take back what could not be written down."""
        with self._mutex:
            self._deletes[:0] = endings.deletes
            self._releases[:0] = endings.releases

    def unknown(self, keys: Iterable[bytes]) -> list[bytes]:
        """Return those keys that are not in flight here and whose ending does not wait here."""
        with self._mutex:
            known = self._keys.union(self._deletes, self._releases)
        return [key for key in keys if key not in known]

    def _end(self, keys: Iterable[bytes], endings: list[bytes]) -> None:
        with self._mutex:
            for key in keys:
                # Ended twice it would, the second time, end a flight that began in between.
                if key in self._keys:
                    self._keys.remove(key)
                    endings.append(key)
