"""Which file systems Maildirs and ledger lie on, and what each still writes when the power goes.

A ledger on the same file system hides a missing directory sync, since its own syncs commit the file system's
journal; so both are tried. A power cut takes both at once, but each may just have committed its journal by
itself: then one is ahead of the other.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.crash.mounts import mounted
from tests.crash.points import Bench, MakeAgent
from tests.crash.shim import Flush, Shim

JOURNAL, NOTHING = Flush.JOURNAL, Flush.NOTHING


@dataclass(frozen=True, slots=True)
class Placement:
    """One file system for everything, or the first for the Maildirs and the second for the ledger."""

    file_systems: tuple[str, ...]
    flushes: tuple[Flush, ...]
    name: str
    every: int
    """In a short run: which calls are cut, so that all of them still are somewhere."""

    def __str__(self) -> str:
        return self.name

    @contextmanager
    def bench(self, shim: Shim, make: MakeAgent) -> Iterator[Bench]:
        """Mount them afresh and set up a bench on them."""
        with mounted(*self.file_systems) as disks:
            mounts = list(zip(disks, self.flushes, strict=True))
            yield Bench(shim, make, mail=disks[0].path, state=disks[-1].path, mounts=mounts)


PLACEMENTS = (
    Placement(("ext4",), (NOTHING,), "ext4", 2),
    Placement(("xfs",), (NOTHING,), "xfs", 2),
    Placement(("ext4", "ext4"), (NOTHING, NOTHING), "ext4-ledger-elsewhere", 1),
    Placement(("xfs", "xfs"), (NOTHING, NOTHING), "xfs-ledger-elsewhere", 1),
    Placement(("ext4", "ext4"), (JOURNAL, NOTHING), "ext4-mail-ahead-of-ledger", 4),
    Placement(("ext4", "ext4"), (NOTHING, JOURNAL), "ext4-ledger-ahead-of-mail", 4),
    Placement(("xfs", "xfs"), (JOURNAL, NOTHING), "xfs-mail-ahead-of-ledger", 4),
    Placement(("xfs", "xfs"), (NOTHING, JOURNAL), "xfs-ledger-ahead-of-mail", 4),
)
APART = PLACEMENTS[2]
