"""The body of one message, from the wire to the form it has on disk.

`Incoming` takes the body's bytes as they arrive. Up to `MEMORY_OCTETS` they wait in memory; from then
on they go to a file in the first recipient's own tmp/, so that a large body is written once, on the
file system where it will stay. `finish` makes it a `Message`, which does not change any more.

On disk lines end in LF; nothing else changes but Return-Path fields, which go (RFC 5321 4.4). With
BODY=BINARYMIME not even the line ends change.
"""

import hashlib
from typing import Protocol

from lmtpd.delivery.headers import HEADER_OCTETS, delivered_to_of, header_end, hops_of, without_return_path

MEMORY_OCTETS = 128 * 1024  # as Dovecot: larger bodies go to disk as they arrive


class Spool(Protocol):
    """Where a body that is too large for memory goes. Owned by the transaction."""

    def open(self) -> None:
        """Prepare for writing; never raises."""

    def write(self, data: bytes) -> None:
        """Append data; never raises: what fails is that recipient's, and told at staging."""


class Message:
    """A received body in its form on disk. Immutable; its spool file belongs to who made it."""

    __slots__ = ("_data", "_passed", "digest", "header", "hops", "octets", "wire_octets")

    def __init__(
        self, data: bytes | None, *, header: bytes, octets: int, wire_octets: int, digest: bytes
    ) -> None:
        self._data = data
        self.header = header  # bounded by HEADER_OCTETS
        self.octets = octets  # on disk
        self.wire_octets = wire_octets  # with every LF on disk sent as CRLF: what W= counts
        self.digest = digest  # SHA-256 of the octets as received, before anything was changed
        self.hops = hops_of(header)
        self._passed: frozenset[str] | None = None

    def has_passed(self, address: str) -> bool:
        """Whether it was delivered to the mailbox of this address before, as Delivered-To tells."""
        if self._passed is None:
            self._passed = delivered_to_of(self.header)
        return address in self._passed

    @property
    def data(self) -> bytes | None:
        """The whole body where it is in memory; None where it is in the spool."""
        return self._data


class Incoming:
    """Collects one body. Confined to the thread of its connection."""

    __slots__ = ("_binary", "_chunks", "_held_cr", "_last_was_cr", "_sha256", "_size", "_spool", "_spooled",
                 "_top", "_written", "_written_wire")  # fmt: skip

    def __init__(self, *, binary: bool, spool: Spool) -> None:
        self._binary = binary
        self._spool = spool
        self._spooled = False
        self._chunks: list[bytes] = []
        self._size = 0  # of what waits in _chunks
        self._sha256 = hashlib.sha256()
        self._top = b""
        self._held_cr = b""  # a CR at the end of a chunk: an LF may follow in the next
        self._last_was_cr = False
        self._written = 0
        self._written_wire = 0

    def add(self, data: bytes) -> None:
        """Take the next octets of the body, in any portion."""
        self._sha256.update(data)
        if self._spooled:
            self._write(self._to_disk_form(data))
            return
        self._chunks.append(data)
        self._size += len(data)
        if self._size > MEMORY_OCTETS:
            self._begin_spooling()

    def finish(self) -> Message:
        """The body has ended: make it a Message."""
        digest = self._sha256.digest()
        if self._spooled:
            if self._held_cr:
                self._write(self._held_cr)
            octets, wire_octets = self._written, self._written_wire
            data = None
        else:
            data = b"".join(self._chunks) if len(self._chunks) != 1 else self._chunks[0]
            if not self._binary:
                data = data.replace(b"\r\n", b"\n")
            data = self._top = without_return_path(data)
            octets = len(data)
            wire_octets = octets + bare_lf_count(data)
        header = self._top[: min(header_end(self._top), HEADER_OCTETS)]
        return Message(data, header=header, octets=octets, wire_octets=wire_octets, digest=digest)

    def _begin_spooling(self) -> None:
        self._spooled = True
        top = self._to_disk_form(b"".join(self._chunks))
        self._chunks.clear()
        top = without_return_path(top)
        self._top = top[:HEADER_OCTETS]
        self._spool.open()
        self._write(top)

    def _to_disk_form(self, data: bytes) -> bytes:
        if self._binary:
            return data
        if self._held_cr:
            data = self._held_cr + data
            self._held_cr = b""
        if data.endswith(b"\r"):
            data = data[:-1]
            self._held_cr = b"\r"
        return data.replace(b"\r\n", b"\n")

    def _write(self, data: bytes) -> None:
        if not data:
            return
        self._written += len(data)
        self._written_wire += len(data) + bare_lf_count(data)
        if self._last_was_cr and data[0] == 0x0A:
            self._written_wire -= 1  # "\r\r\n" on the wire: its second half began this portion
        self._last_was_cr = data[-1] == 0x0D
        self._spool.write(data)


def bare_lf_count(data: bytes) -> int:
    """How many LF in data have no CR before them: each costs one octet more on the wire."""
    # Most mail has no CR left, and looking for one is far cheaper than counting pairs.
    return data.count(b"\n") - (data.count(b"\r\n") if b"\r" in data else 0)
