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


class _State(Enum):
    OPEN = "open"
    FAILED = "failed"
    SYNCED = "synced"
    PUBLISHED = "published"
    DISCARDED = "discarded"


class Staged:
    """A message in tmp/. Leaving the context without publish() discards it. Confined to one thread."""

    __slots__ = ("_disk", "_error", "_new", "_state", "_sync_file", "_tmp", "fd", "name", "octets")

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
    ) -> None:
        """Take over fd, just created as name in tmp. Maildir.stage() calls this."""
        self.name = name
        self.octets = 0  # written so far
        self.fd = fd  # -1 once closed
        self._disk = disk
        self._tmp = tmp
        self._new = new
        self._sync_file = sync_file
        self._error = error
        self._state = _State.OPEN

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
        try:
            while offset < end:
                copied = self._disk.copy_range(other.fd, self.fd, offset=offset, octets=end - offset)
                offset += self._written(copied)
        except OSError as exc:
            self._state = _State.FAILED
            raise self._error(exc) from exc
        self.octets += octets

    def sync(self) -> None:
        """Make the message durable in tmp/ and close its file: from here on it does not change.

        Once only. An error of either is final: the file is removed, and publish() is refused.
        """
        self._require(_State.OPEN)
        fd, self.fd = self.fd, -1
        try:
            try:
                self._sync_file(fd)
            finally:
                self._disk.close(fd)
        except OSError as exc:
            self.discard()
            raise self._error(exc) from exc
        self._state = _State.SYNCED

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

    def _require(self, state: _State) -> None:
        if self._state is not state:
            raise StorageError(f"{self.name} is {self._state.value}, not {state.value}")

    def _written(self, octets: int) -> int:
        # A disk that takes nothing and complains about nothing would keep us for ever.
        if octets == 0:
            self._state = _State.FAILED
            raise StorageError(f"{self.name}: no more octets could be written")
        return octets
