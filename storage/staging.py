"""One message on its way into a mailbox: written in tmp/, synced, then made visible in new/ by a rename.

    write -> fsync(file), close -> [the caller's ledger] -> rename -> fsync(new/, by the Maildir)

The rule: nothing is visible before it is complete and on the disk, and an error of write, fsync or close
is final for the file. After a failed fsync the kernel takes the lost pages for clean, so a second fsync
would say "done".
"""

from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from types import TracebackType
from typing import Self

from storage.directory import Directory
from storage.disk import Disk
from storage.errors import StorageError

# Of ext4, XFS and btrfs unless made otherwise. Where blocks are larger, less is shared.
BLOCK_OCTETS = 4096


class _State(Enum):
    OPEN = "open"
    LINKED = "linked"
    CLOSED = "closed"
    FAILED = "failed"
    SYNCED = "synced"
    PUBLISHED = "published"
    DISCARDED = "discarded"


class Staged:
    """A message in tmp/. Leaving the context without publish() discards it. Confined to one thread."""

    __slots__ = ("_disk", "_error", "_failure", "_is_synced", "_new", "_original", "_state", "_sync_file",
                 "_tmp", "fd", "name", "octets")  # fmt: skip

    def __init__(
        self,
        disk: Disk,
        name: str,
        fd: int,
        *,
        tmp: Directory,
        new: Directory,
        sync_file: Callable[[int], None],
        error: Callable[[OSError], StorageError],
        original: "Staged | None" = None,
    ) -> None:
        """Take over fd, just created as name in tmp; or -1, and name is one more name of original's file.

        Maildir.stage() and Maildir.stage_link() call this.
        """
        self.name = name
        self.octets: int = 0 if original is None else original.octets  # written so far
        self.fd = fd  # -1 once closed
        self._disk = disk
        self._tmp = tmp
        self._new = new
        self._sync_file = sync_file
        self._error = error
        self._original = original
        self._is_synced = False
        self._failure: StorageError | None = None  # why it could not be synced
        self._state = _State.OPEN if original is None else _State.LINKED

    def link_into(self, tmp: Directory, name: str) -> None:
        """Give the file, written and not yet published, one more name, in another tmp/. Raise OSError."""
        self._require(_State.OPEN)
        tmp.disk.link(self.name, name, src_dir_fd=self._tmp.fd, dst_dir_fd=tmp.fd)

    def write(self, data: bytes | memoryview) -> None:
        """Append data, all of it. After a StorageError the message can only be discarded."""
        self._require(_State.OPEN)
        try:
            octets = self._disk.write(self.fd, data)
            while octets < len(data):  # a short write; what hinders it is told by the next
                octets += self._written(self._disk.write(self.fd, memoryview(data)[octets:]))
        except OSError as exc:
            self._state = _State.FAILED
            raise self._error(exc) from exc
        self.octets += octets

    def write_from(self, other: "Staged", offset: int, octets: int) -> None:
        """Append octets of another staged message, from offset on, without reading them in if possible.

        other must not be synced yet, since that closes it; it may have failed at what follows these
        octets. After a StorageError this message can only be discarded.
        """
        self._require(_State.OPEN)
        end = offset + octets
        # Whole blocks at the same place in both can be shared, if the part before them is copied by itself.
        lead = -offset % BLOCK_OCTETS if (offset - self.octets) % BLOCK_OCTETS == 0 else 0
        stop = offset + lead if 0 < lead < octets else end
        try:
            while offset < end:
                copied = self._disk.copy_range(other.fd, self.fd, offset=offset, octets=stop - offset)
                offset += self._written(copied)
                stop = end if offset == stop else stop
        except OSError as exc:
            self._state = _State.FAILED
            raise self._error(exc) from exc
        self.octets += octets

    def sync(self) -> None:
        """Make the message durable in tmp/ and close its file: from here on it does not change.

        Once only. An error of either is final: the file is removed, and publish() is refused. What shares
        a file comes after its original, and has the same answer.
        """
        if self._original is not None:
            self._follow(self._original)
            return
        self._require(_State.OPEN)
        fd, self.fd = self.fd, -1
        try:
            try:
                self._sync_file(fd)
            finally:
                self._disk.close(fd)
        except OSError as exc:
            raise self.sync_failed(exc) from exc
        self._state = _State.SYNCED
        self._is_synced = True

    @property
    def device(self) -> int:
        """The file system that it is on (st_dev); -1: not known."""
        return self._tmp.device

    @property
    def is_linked(self) -> bool:
        """Whether it shares the file of another message."""
        return self._original is not None

    def close(self) -> None:
        """Close the file, to be made durable together with others: then say synced() or sync_failed().

        An error is final: the file is removed.
        """
        self._require(_State.OPEN)
        fd, self.fd = self.fd, -1
        try:
            self._disk.close(fd)
        except OSError as exc:
            raise self.sync_failed(exc) from exc
        self._state = _State.CLOSED

    def synced(self) -> None:
        """The whole file system was synced after close(): the message is durable in tmp/."""
        self._require(_State.CLOSED)
        self._state = _State.SYNCED
        self._is_synced = True

    def sync_failed(self, exc: OSError) -> StorageError:
        """Its sync went wrong, for good: discard the message, and name the error."""
        self.discard()
        self._failure = self._error(exc)
        return self._failure

    def require_synced(self) -> None:
        """Raise a StorageError unless the file was synced, whatever its name here came to since."""
        if not self._is_synced:
            failure = self._failure or StorageError("the file was not synced")
            raise type(failure)(f"shared with {self.name}: {failure}")

    def publish(self, final_name: str) -> None:
        """Make the synced message visible in new/. Durable once the caller has synced the Maildir.

        NameTaken: nothing happened, another name will do. Any other StorageError may leave the message
        visible: its record in the ledger names the file, so a retry finds it and does not store it twice.
        """
        self._require(_State.SYNCED)
        if "/" in final_name:
            raise ValueError("a file name, not a path")
        try:
            self._disk.rename_exclusive(
                self.name, final_name, src_dir_fd=self._tmp.fd, dst_dir_fd=self._new.fd
            )
        except OSError as exc:
            raise self._error(exc) from exc
        self._state = _State.PUBLISHED

    def discard(self) -> None:
        """Remove the message unless it was published; any number of times.

        Best effort: it must not hide the error that led here, and maildir-clean removes what it misses.
        """
        if self._state in (_State.PUBLISHED, _State.DISCARDED):
            return
        self._state = _State.DISCARDED
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            with suppress(OSError):
                self._disk.close(fd)
        with suppress(OSError):
            self._disk.unlink(self.name, dir_fd=self._tmp.fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.discard()

    def _follow(self, original: "Staged") -> None:
        self._require(_State.LINKED)
        try:
            original.require_synced()
        except StorageError:
            self.discard()
            raise
        self._state = _State.SYNCED

    def _require(self, state: _State) -> None:
        if self._state is not state:
            raise StorageError(f"{self.name} is {self._state.value}, not {state.value}")

    def _written(self, octets: int) -> int:
        # A disk that takes nothing and complains about nothing would keep us for ever.
        if octets == 0:
            self._state = _State.FAILED
            raise StorageError(f"{self.name}: no more octets could be written")
        return octets
