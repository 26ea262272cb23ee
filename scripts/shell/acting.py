"""Opening a Maildir, and working in it with its owner's rights."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Self, TypeVar

from scripts.shell.target import Target
from storage.directory import Directory
from storage.disk import Disk
from storage.errors import MailboxUnusable
from storage.opening import descend
from storage.rights import acting_as

T = TypeVar("T")
_PARTS = ("cur", "new", "tmp")


@contextmanager
def as_owner(target: Target) -> Iterator[Directory]:
    """Open a Maildir, no link followed below its root; as root, act as its owner. OSError, StorageError."""
    maildir = descend(Disk(), target.where, create=False)[-1]
    with Owner.of(maildir.fd).acting():
        yield maildir


@contextmanager
def in_maildir(target: Target) -> Iterator[Directory]:
    """Open what is a Maildir as `as_owner`. OSError, StorageError."""
    with as_owner(target) as maildir:
        yield _looking_like_one(maildir)


@contextmanager
def as_oneself(target: Target) -> Iterator[Directory]:
    """Open a Maildir as `in_maildir`, for a job that says itself when it acts as whom (`Owner`)."""
    yield _looking_like_one(descend(Disk(), target.where, create=False)[-1])


def _looking_like_one(maildir: Directory) -> Directory:
    # Of what was named by mistake, /etc say, a repair or a new limit would make a Maildir, with its modes.
    if not any(_has(maildir, part) for part in _PARTS):
        raise MailboxUnusable("no Maildir: it has none of cur, new and tmp (maildir-make makes one)")
    return maildir


def _has(directory: Directory, name: str) -> bool:
    try:
        directory.disk.status(name, dir_fd=directory.fd)
    except FileNotFoundError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose something is: a job that reads in one place and writes in another acts as each in turn."""

    uid: int
    gid: int

    @classmethod
    def of(cls, fd: int) -> Self:
        """Ask whose an open file or directory is."""
        status = os.fstat(fd)
        return cls(status.st_uid, status.st_gid)

    def acting(self) -> AbstractContextManager[None]:
        """Have his rights, started as root; otherwise nothing changes."""
        return acting_as(self.uid, self.gid)

    def steps(self, steps: Iterator[T]) -> Iterator[T]:
        """Take each step of a generator with his rights, and nothing of what is done between them."""
        while True:
            with self.acting():
                try:
                    step = next(steps)
                except StopIteration:
                    return
            yield step
