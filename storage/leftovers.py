"""What lies in tmp/ and belongs to nobody any more.

The rules: a file that nothing has touched for 36 hours may go (cr.yp.to/proto/maildir.html; Dovecot's
MAILDIR_TMP_DELETE_SECS). A file of ours may go earlier, if its name says that a process of this machine made
it, and that process is dead. Touched means read, written, linked or renamed: a copy by hard link has an old
modification time. Only files go; what else lies there was put there by hand.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from stat import S_ISREG

from storage.directory import Directory
from storage.listing import entries
from storage.names import parse

STALE_S = 36 * 3600.0
# A delivery must be over within 540 s (`delivery.deadline_s`), so however a process id came to be wrong,
# in another container say, nothing younger than this is touched.
OWN_STALE_S = 15 * 60.0


class Verdict(Enum):
    """What is to be done with an entry of tmp/."""

    STALE = "nothing has touched it for 36 hours"
    DEAD = "its process of this machine is dead"
    FRESH = "a delivery may be under way"
    STRANGE = "not a file"


@dataclass(frozen=True, slots=True)
class Leftover:
    """An entry of tmp/ and what is to be done with it."""

    name: str
    octets: int
    idle_s: float
    verdict: Verdict


def leftovers(
    folder: Directory, *, now: float, host: str, is_alive: Callable[[int], bool]
) -> Iterator[Leftover]:
    """Judge everything in a folder's tmp/. OSError.

    host: this machine's, as names have it. is_alive: whether there is a process of this id.
    """
    for entry in entries(folder, "tmp"):
        try:
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            continue  # delivered meanwhile
        idle_s = now - max(status.st_atime, status.st_mtime, status.st_ctime)
        verdict = _judge(entry.name, status, idle_s, host=host, is_alive=is_alive)
        yield Leftover(entry.name, status.st_size, idle_s, verdict)


def remove(folder: Directory, leftover: Leftover) -> bool:
    """Remove what was judged to go; tell whether it was still there. OSError."""
    assert leftover.verdict in (Verdict.STALE, Verdict.DEAD)
    tmp = folder.enter("tmp")
    try:
        tmp.disk.unlink(leftover.name, dir_fd=tmp.fd)
    except FileNotFoundError:
        return False
    return True


def _judge(
    name: str, status: os.stat_result, idle_s: float, *, host: str, is_alive: Callable[[int], bool]
) -> Verdict:
    if not S_ISREG(status.st_mode):
        return Verdict.STRANGE
    if idle_s > STALE_S:
        return Verdict.STALE
    parsed = parse(name)
    if parsed is not None and parsed.host == host and idle_s > OWN_STALE_S and not is_alive(parsed.pid):
        return Verdict.DEAD
    return Verdict.FRESH
