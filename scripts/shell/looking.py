"""Looking at Maildirs with their owners' rights, in a process that has other threads."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from scripts.shell.failures import Failure
from scripts.shell.target import Target
from storage.directory import Directory
from storage.disk import Disk
from storage.opening import descend
from storage.thread_rights import Held, Rights, RightsUnavailable

T = TypeVar("T")
# Of what belongs to the group root, its owner's rights are enough.
_NO_GROUP = 65534


class Looker:
    """Looks in a thread of its own, which alone has an owner's rights for so long.

    The main thread is the one that signals interrupt: they would find it with the wrong rights.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "looker")

    def look(self, target: Target, look: Callable[[Directory], T]) -> T:
        """Look at a Maildir, as root with its owner's rights. OSError, StorageError, Failure."""
        maildir = descend(Disk(), target.where, create=False)[-1]
        status = os.fstat(maildir.fd)
        if os.geteuid() != 0 or status.st_uid == 0:
            return look(maildir)
        rights = Rights(status.st_uid, status.st_gid or _NO_GROUP)
        try:
            return self._thread.submit(_as_owner, rights, maildir, look).result()
        except RightsUnavailable as exc:
            raise Failure(f"cannot act as the owner of {target.path}: {exc}", os.EX_OSERR) from exc


def _as_owner(rights: Rights, maildir: Directory, look: Callable[[Directory], T]) -> T:
    with Held(rights):
        return look(maildir)
