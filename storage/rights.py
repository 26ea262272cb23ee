"""Acting as the owner of a mailbox.

The rule: root never touches what is in a user's Maildir as root, so whatever the user has put there can
lead to nothing that he could not do himself. Only the effective ids change, and not the real one: the
user may send no signal to the process, and the kernel forbids him to look into it (proc(5), dumpable).

The ids belong to the whole process (setresuid(2) through the C library), so this is for processes of one
thread; a server with threads needs another way.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

_KEEP = -1


@contextmanager
def acting_as(uid: int, gid: int) -> Iterator[None]:
    """Have this user's and this group's rights and no others, while the `with` block lasts.

    Without effect unless the process is root: whoever has no more rights than his own needs to give none
    up. OSError.
    """
    if os.geteuid() != 0 or (uid == 0 and gid == os.getegid()):
        yield
        return
    groups, own_gid = os.getgroups(), os.getegid()
    try:
        _become(uid, gid, [gid])
        yield
    finally:
        _become(0, own_gid, groups)


@contextmanager
def as_started() -> Iterator[None]:
    """Have back, inside acting_as, what the process had: for the call that only root can make. OSError."""
    uid, gid, groups = os.geteuid(), os.getegid(), os.getgroups()
    if uid == os.getuid():
        yield
        return
    try:
        _become(os.getuid(), os.getgid(), groups)
        yield
    finally:
        _become(uid, gid, groups)


def _become(uid: int, gid: int, groups: list[int]) -> None:
    # Only root may change groups: so first root, if the way leads there or from there.
    os.setresuid(_KEEP, os.getuid(), _KEEP)
    os.setgroups(groups)
    os.setresgid(_KEEP, gid, _KEEP)
    os.setresuid(_KEEP, uid, _KEEP)
