"""Opening a Maildir, and working in it with its owner's rights."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from scripts.shell.selection import Target
from storage.directory import Directory
from storage.disk import Disk
from storage.opening import descend
from storage.rights import acting_as


@contextmanager
def as_owner(target: Target) -> Iterator[Directory]:
    """Open a Maildir, no link followed below its root; as root, act as its owner. OSError, StorageError."""
    maildir = descend(Disk(), target.where, create=False)[-1]
    status = os.fstat(maildir.fd)
    with acting_as(status.st_uid, status.st_gid):
        yield maildir
