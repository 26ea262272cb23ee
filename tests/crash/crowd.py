"""Several transactions in one round of deliveries, on every machine: none of it is left to chance.

A round takes what has gathered while the one before it was under way. So one message is held up where it
waits for its turn in the ledger, until all others are with the server; then they go together.
"""

import array
import fcntl
import os
import termios
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from tests.crash.account import Attempt, Sent
from tests.crash.client import Behind, Client
from tests.crash.shim import SYNCS, Call, Kind

_GIVE_UP_S = 10.0
_LOOK_S = 0.001


class Member(Client):
    """A client of the crowd; it can be asked how far it is, by another thread."""

    def __init__(self, address: str, *, timeout_s: float = 15.0) -> None:
        super().__init__(address, timeout_s=timeout_s)
        self._thread: threading.Thread | None = None
        self._has_said_all = False

    def begin(self, sent: Sent, behind: Behind) -> None:
        """Send, in a thread of its own."""
        self._has_said_all = False
        self._thread = threading.Thread(target=self.send, args=(sent, behind))
        self._thread.start()

    def join(self) -> None:
        """Wait for the replies."""
        assert self._thread is not None
        self._thread.join()

    @property
    def is_over(self) -> bool:
        """Tell whether it has its replies, or lost its connection."""
        return self._thread is None or not self._thread.is_alive()

    @property
    def is_heard(self) -> bool:
        """Tell whether the server has read everything up to the end of the message, or is gone."""
        connection = self._connection
        if self.is_over:
            return True
        if not self._has_said_all or connection is None:
            return False
        unread = array.array("i", [0])
        with suppress(OSError, ValueError):  # it is closed by the thread that reads
            fcntl.ioctl(connection.socket, termios.TIOCOUTQ, unread)
        return not unread[0]

    def _read_final_replies(self, sent: Sent, attempt: Attempt) -> None:
        self._has_said_all = True
        super()._read_final_replies(sent, attempt)


def deliver_together(
    members: Sequence[Member], messages: Sequence[Sent], *, lock: Path, behind: Behind = Behind.QUIT
) -> None:
    """Send each message with a member: the first alone, all others in the round behind it.

    `lock` is the ledger's. Returns when all have their replies, or the server is gone.
    """
    first, *others = members = members[: len(messages)]
    with lock.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        number = os.fstat(file.fileno()).st_ino  # while there is power: XFS does not tell behind a cut
        first.begin(messages[0], behind)
        _wait(lambda: first.is_over or _is_waited_for(number))
        for member, sent in zip(others, messages[1:], strict=True):
            member.begin(sent, behind)
        _wait(lambda: all(member.is_heard for member in others))
    for member in members:
        member.join()


def together_in_a_round(calls: Sequence[Call]) -> set[str]:
    """Name the mailboxes (USER of .../USER/tmp/) of the round whose call failed first.

    One thread does a round: it creates all files, syncs, renames, and syncs all new/.
    """
    failed = next(call for call in calls if call.error and call.kind in SYNCS)
    ours = [call for call in calls if call.tid == failed.tid and call.begin < failed.begin]
    ends = [n for n, call in enumerate(ours) if call.kind is Kind.FSYNC and call.path.endswith("/new")]
    round_of_it = ours[ends[-1] + 1 :] if ends else ours
    return {
        Path(call.path).parent.parent.name
        for call in round_of_it
        if call.kind is Kind.OPEN and call.flags & os.O_CREAT and "/tmp/" in call.path
    }


def _is_waited_for(number: int) -> bool:
    """Tell whether somebody waits for the lock on that inode: the kernel lists those behind an arrow."""
    lines = Path("/proc/locks").read_text(encoding="ascii").splitlines()
    return any("->" in line and line.split()[6].rpartition(":")[2] == str(number) for line in lines)


def _wait(condition: Callable[[], bool]) -> None:
    """Return when it holds; later than that nobody waits, and the oracle judges what came of it."""
    give_up = time.monotonic() + _GIVE_UP_S
    while not condition() and time.monotonic() < give_up:
        time.sleep(_LOOK_S)
