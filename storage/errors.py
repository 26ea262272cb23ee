"""What can go wrong with a mailbox, by name.

The rule: this is the only reader of errno. Everything is temporary unless its caller knows better: a
wrong "try again" costs minutes, a wrong bounce cannot be taken back.
"""

import errno


class StorageError(Exception):
    """A mailbox operation failed; nothing is promised to be in the mailbox."""

    temporary = True  # the sender keeps the message and tries again
    oserror: OSError | None = None  # what the system said, if it was asked


class MailboxMissing(StorageError):
    """A directory or file is not there (any more)."""


class MailboxFull(StorageError):
    """The owner's disk quota is used up."""


class DiskFull(StorageError):
    """The file system has no space or no inodes left."""


class MailboxUnusable(StorageError):
    """The mailbox is there, but cannot be used: permissions, a link, a file in place of a directory."""


class NameTaken(StorageError):
    """A file of this name exists; nothing was changed, another name will do."""


class OutOfDescriptors(StorageError):
    """This process or this machine has too many files open."""


_BY_ERRNO: dict[int | None, type[StorageError]] = {
    errno.ENOENT: MailboxMissing,
    errno.EDQUOT: MailboxFull,
    errno.ENOSPC: DiskFull,
    errno.EACCES: MailboxUnusable,
    errno.EPERM: MailboxUnusable,
    errno.ENOTDIR: MailboxUnusable,
    errno.EROFS: MailboxUnusable,
    errno.ELOOP: MailboxUnusable,
    errno.EISDIR: MailboxUnusable,
    errno.ENXIO: MailboxUnusable,
    errno.EEXIST: NameTaken,
    errno.EMFILE: OutOfDescriptors,
    errno.ENFILE: OutOfDescriptors,
}

# What concerns all of a file system, not one mailbox: full, failing, gone read-only, its server away.
# Nothing that an owner can bring about by what he puts into his mailbox, as ENOTDIR, ELOOP and ENXIO.
_OF_FILE_SYSTEM = frozenset(
    {
        *(errno.ENOSPC, errno.EIO, errno.ESTALE, errno.EROFS, errno.EUCLEAN, errno.ENODEV),
        *(errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENOTCONN, errno.ESHUTDOWN),
    }
)

_UNSUPPORTED = frozenset({errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EXDEV})


def from_oserror(exc: OSError) -> StorageError:
    """Name the condition behind an OSError, which stays at hand as `oserror`."""
    error = _BY_ERRNO.get(exc.errno, StorageError)(str(exc))
    error.oserror = exc
    return error


def is_of_file_system(error: StorageError) -> bool:
    """Tell whether the whole file system is in trouble, as far as its answer goes."""
    return error.oserror is not None and error.oserror.errno in _OF_FILE_SYSTEM


def is_unsupported(exc: OSError) -> bool:
    """Tell whether the kernel or the file system does not know the call, so that another may do."""
    return exc.errno in _UNSUPPORTED
