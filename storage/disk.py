"""The system calls that a delivery makes, and nothing else: the seam for the crash tests.

The rule: every method is one step that either happens or raises OSError, and decides nothing. Names are
relative to an open directory wherever a mailbox's owner could put a link in the way.
"""

import ctypes
import errno
import fcntl
import os
import re
from collections.abc import Callable
from contextlib import suppress
from itertools import islice

from storage.errors import is_unsupported
from storage.thread_rights import Rights

# No right for group and others, so the process's umask has nothing to take away.
FILE_MODE = 0o600

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_PASSAGE = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
# Never without O_EXCL: an existing file is somebody's message.
_CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: opening a FIFO that an owner has put in place of a file must not wait for its writer.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_APPEND = os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

# statfs(2): the magic numbers of file systems whose syncfs(2) is known to wait for the disk's own cache:
# ext4 (and ext2, ext3), XFS, btrfs.
_SYNCED_AS_A_WHOLE = frozenset({0xEF53, 0x58465342, 0x9123683E})
_SYNCFS_TELLS_ERRORS = (5, 17)  # before 5.8 it was silent about lost pages, before 5.17 about the journal

_RENAME_NOREPLACE = 1
_RENAME_EXCHANGE = 2
_COPY_OCTETS = 1 << 20  # by hand, at a time: large enough that the calls do not count

_RenameAt2 = Callable[[int, bytes, int, bytes, int], int]


def _renameat2_of(libc: ctypes.CDLL) -> _RenameAt2 | None:
    """Prepare renameat2(2); None where the C library does not have it."""
    function = getattr(libc, "renameat2", None)
    if function is None:
        return None
    function.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
    function.restype = ctypes.c_int
    prepared: _RenameAt2 = function
    return prepared


# A CDLL releases the interpreter lock during the call, as os.rename does.
_libc = ctypes.CDLL(None, use_errno=True)
_renameat2 = _renameat2_of(_libc)
_KERNEL = tuple(int(number) for number in re.findall(r"\d+", os.uname().release)[:2])


class Disk:
    """The disk itself. It holds no state, so any thread may call any method."""

    def acting_as(self, rights: Rights | None) -> "Disk":  # noqa: ARG002 (for `owned_disk`)
        """Return the disk as a mailbox's owner may use it: here all is done with this process's own rights.

        PermissionError: not as this owner (see `owned_disk`).
        """
        return self

    def open_directory(self, name: str, *, dir_fd: int | None = None, follow: bool = False) -> int:
        """Open a directory; a link in its place is refused (ENOTDIR) unless follow. The caller closes it."""
        flags = _DIRECTORY if follow else _DIRECTORY | os.O_NOFOLLOW
        return os.open(name, flags, dir_fd=dir_fd)

    def open_path(self, name: str, *, dir_fd: int | None = None, follow: bool = False) -> int:
        """As open_directory, but without the right to read it: good for reaching what is below, no more."""
        flags = _PASSAGE if follow else _PASSAGE | os.O_NOFOLLOW
        return os.open(name, flags, dir_fd=dir_fd)

    def make_directory(self, name: str, mode: int, *, dir_fd: int | None = None) -> None:
        """Make a directory. It is durable once the directory that it was made in is synced."""
        os.mkdir(name, mode, dir_fd=dir_fd)

    def create(self, name: str, *, dir_fd: int | None = None) -> int:
        """Create a file that did not exist, for reading and writing. The caller closes it."""
        return os.open(name, _CREATE, FILE_MODE, dir_fd=dir_fd)

    def open_file(self, name: str, *, dir_fd: int | None = None) -> int:
        """Open an existing file for reading; a link is refused (ELOOP). The caller closes it."""
        return os.open(name, _READ, dir_fd=dir_fd)

    def open_to_append(self, name: str, *, dir_fd: int | None = None) -> int:
        """Open an existing file to read and append; a link is refused (ELOOP). The caller closes it."""
        return os.open(name, _APPEND, dir_fd=dir_fd)

    def read(self, fd: int, octets: int) -> bytes:
        """Read up to octets; nothing means the end."""
        return os.read(fd, octets)

    def read_at(self, fd: int, octets: int, offset: int) -> bytes:
        """Read up to octets from offset on, wherever reading and writing have got to."""
        return os.pread(fd, octets, offset)

    def append(self, fd: int, data: bytes) -> int:
        """Put data behind all that is there, in one piece; return where it ends. EIO if it was cut short.

        Of those who append at the same time each learns his own place.
        """
        if os.write(fd, data) < len(data):
            raise OSError(errno.EIO, "cut short")
        return os.lseek(fd, 0, os.SEEK_CUR)

    def write(self, fd: int, data: bytes | memoryview) -> int:
        """Write data, or its beginning; return how many octets."""
        return os.write(fd, data)

    def copy_range(self, src_fd: int, dst_fd: int, *, offset: int, octets: int) -> int:
        """Append up to octets of one file, from offset on, to another; return how many, 0 at the end.

        In the kernel where it can, which on XFS and btrfs shares the blocks.
        """
        try:
            return os.copy_file_range(src_fd, dst_fd, octets, offset_src=offset)
        except OSError as exc:
            if not is_unsupported(exc):
                raise
        return os.write(dst_fd, os.pread(src_fd, min(octets, _COPY_OCTETS), offset))

    def lock_shared(self, fd: int) -> None:
        """Lock an open file together with others of our kind; wait while one has it alone (flock)."""
        fcntl.flock(fd, fcntl.LOCK_SH)

    def try_lock_alone(self, fd: int) -> bool:
        """Lock an open file for nobody else, unless somebody has it locked; never waits (flock)."""
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def sync(self, fd: int) -> None:
        """Make a file's data, or a directory's entries, survive a power cut (fsync)."""
        os.fsync(fd)

    def can_sync_file_system(self, fd: int) -> bool:
        """Tell whether sync_file_system() does what sync() of every file on it would do."""
        answer = ctypes.create_string_buffer(256)  # struct statfs, which begins with f_type
        if _KERNEL < _SYNCFS_TELLS_ERRORS or _libc.fstatfs(fd, answer) != 0:
            return False
        return ctypes.c_long.from_buffer(answer).value in _SYNCED_AS_A_WHOLE

    def sync_file_system(self, fd: int) -> None:
        """Make all that was written to the file system of fd survive a power cut (syncfs).

        Tells of every write error on it since fd was opened, or since the last call for fd.
        """
        if _libc.syncfs(fd) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    def close(self, fd: int) -> None:
        """Close a file or a directory. Whatever the answer, fd is gone."""
        os.close(fd)

    def rename_exclusive(self, name: str, new_name: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        """Move a file to a name that must be free (EEXIST), in one step.

        Where a file system cannot (NFS), link and unlink take its place.
        """
        if _renameat2 is not None:
            old, new = os.fsencode(name), os.fsencode(new_name)
            if _renameat2(src_dir_fd, old, dst_dir_fd, new, _RENAME_NOREPLACE) == 0:
                return
            number = ctypes.get_errno()
            exc = OSError(number, os.strerror(number), name, None, new_name)
            if not is_unsupported(exc):
                raise exc
        _link_and_unlink(name, new_name, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    def link(self, name: str, new_name: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        """Give a file one more name, which must be free (EEXIST), on the same file system (EXDEV)."""
        os.link(name, new_name, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd, follow_symlinks=False)

    def replace(self, name: str, new_name: str, *, dir_fd: int, src_dir_fd: int | None = None) -> None:
        """Move a file over another one, of the same directory unless told otherwise. Never for messages."""
        src_dir_fd = dir_fd if src_dir_fd is None else src_dir_fd
        os.rename(name, new_name, src_dir_fd=src_dir_fd, dst_dir_fd=dir_fd)

    def unlink(self, name: str, *, dir_fd: int | None = None) -> None:
        """Remove a file's name."""
        os.unlink(name, dir_fd=dir_fd)

    def status(self, name: str, *, dir_fd: int | None = None) -> os.stat_result:
        """Return what a name stands for; of a link, the link (lstat)."""
        return os.lstat(name, dir_fd=dir_fd)

    def may_add(self, *, dir_fd: int) -> None:
        """Do nothing if names can be made in a directory and taken from it, else raise PermissionError.

        What it asks for is the right; whether there is space, only making something tells.
        """
        if not os.access(".", os.W_OK | os.X_OK, dir_fd=dir_fd, effective_ids=True):
            raise PermissionError(errno.EACCES, "nothing can be put into it: no right to, or read-only")

    def status_of(self, fd: int) -> os.stat_result:
        """Return what is open (fstat)."""
        return os.fstat(fd)

    def file_system(self, path: str) -> os.statvfs_result:
        """Return how full the file system is that a path is on (statvfs)."""
        return os.statvfs(path)

    def list_names(self, fd: int, *, at_most: int | None = None) -> list[str]:
        """List a directory, all of it or the first names that come. One thread at a time for one fd."""
        with os.scandir(fd) as entries:
            return [entry.name for entry in islice(entries, at_most)]


def link(name: str, new_name: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
    """Give a file a second name, which must be free; a link is not followed. For scripts. OSError."""
    os.link(name, new_name, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd, follow_symlinks=False)


def exchange(name: str, other: str, *, dir_fd: int, other_dir_fd: int) -> None:
    """Exchange two files that must both be there (ENOENT), in one step. For scripts.

    OSError, also where the C library or the file system (NFS) does not know how.
    """
    if _renameat2 is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), name)
    if _renameat2(dir_fd, os.fsencode(name), other_dir_fd, os.fsencode(other), _RENAME_EXCHANGE) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), name, None, other)


def _link_and_unlink(name: str, new_name: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
    try:
        os.link(name, new_name, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd, follow_symlinks=False)
    except FileExistsError:
        # NFS: the answer to a link that worked may be lost, and the request, repeated, finds its own work.
        if not os.path.samestat(os.lstat(name, dir_fd=src_dir_fd), os.lstat(new_name, dir_fd=dst_dir_fd)):
            raise
    # The message is where it belongs. A second name left in tmp/ is litter, not an error.
    with suppress(OSError):
        os.unlink(name, dir_fd=src_dir_fd)
