"""Broken builds of the server, each with one promise taken out; the suite has to catch them all.

`python -m tests.crash.broken NAME serve ...` patches the running program, and then is lmtpd; "NAME+NAME"
puts two patches into one. One of the builds is the unbroken one, started the same way.
"""

import errno
import os
import socket
import sqlite3
import stat
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import ModuleType

import lmtpd.__main__
from lmtpd.delivery.barrier import Verdict
from lmtpd.delivery.copy import Copy
from lmtpd.delivery.intent import Intents
from lmtpd.delivery.outcomes import Delivered
from lmtpd.delivery.rounds import Delivery, Rounds
from lmtpd.delivery.transaction import Transaction
from lmtpd.server.barrier import Barrier
from lmtpd.server.connection import Connection
from lmtpd.server.talk import Talk
from storage import disk, ledger_tables, maildirs, syncing
from storage.database import SharedDatabase
from storage.directory import Directory
from storage.disk import Disk
from storage.ledger import Ledger, Record
from storage.opening import EntrySyncs
from storage.staging import Staged
from storage.syncing import RoundSync

UNBROKEN = "unbroken"
# As unbroken, and tmpfs is taken for a file system that can be synced as a whole.
SYNCED_AS_A_WHOLE = "synced as a whole"

Patch = Callable[[], None]
BUILDS: dict[str, Patch] = {UNBROKEN: lambda: None}


def build(name: str) -> Callable[[Patch], Patch]:
    """Enter a patch into the list."""

    def enter(patch: Patch) -> Patch:
        BUILDS[name] = patch
        return patch

    return enter


def _replace(owner: type | ModuleType, name: str, by: object) -> None:
    """Replace what must exist: a patch that missed would make an unbroken build."""
    assert hasattr(owner, name), f"{owner} has no {name}"
    setattr(owner, name, by)


# ---- syncs ------------------------------------------------------------------------------------------


@build("no file sync")
def _no_file_sync() -> None:
    def sync(_: Disk, fd: int) -> None:
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            os.fsync(fd)

    _replace(Disk, "sync", sync)


@build(SYNCED_AS_A_WHOLE)
def _synced_as_a_whole() -> None:
    _replace(Disk, "can_sync_file_system", lambda *_: True)
    _replace(syncing, "SLOW_S", 60.0)  # a test that waits for a processor is no slow disk


@build("no file system sync")
def _no_file_system_sync() -> None:
    _synced_as_a_whole()
    _replace(Disk, "sync_file_system", lambda *_: None)


@build("no directory sync")
def _no_directory_sync() -> None:
    _replace(RoundSync, "directories", lambda *_: {})


@build("no parent sync")
def _no_parent_sync() -> None:
    _replace(EntrySyncs, "ensure", lambda *_: None)


@build("ledger not synced: NORMAL")
def _ledger_normal() -> None:
    initialise = SharedDatabase.__init__

    def relaxed(self: SharedDatabase, *arguments: object, **options: object) -> None:
        initialise(self, *arguments, **{**options, "durable": False})  # type: ignore[arg-type] # passed on

    _replace(SharedDatabase, "__init__", relaxed)


@build("ledger not synced: OFF")
def _ledger_off() -> None:
    initialise = SharedDatabase.__init__

    def unsafe(self: SharedDatabase, *arguments: object, **options: object) -> None:
        initialise(self, *arguments, **options)  # type: ignore[arg-type] # passed on
        self._synchronous = "OFF"

    _replace(SharedDatabase, "__init__", unsafe)


@build("retried sync")
def _retried_sync() -> None:
    def sync(_: Disk, fd: int) -> None:
        try:
            os.fsync(fd)
        except OSError:
            os.fsync(fd)  # "done", for the kernel takes the lost pages for clean

    _replace(Disk, "sync", sync)


@build("ignored close error")
def _ignored_close_error() -> None:
    def close(_: Disk, fd: int) -> None:
        with suppress(OSError):
            os.close(fd)

    _replace(Disk, "close", close)


# ---- order ------------------------------------------------------------------------------------------


@build("record after rename")
def _record_after_rename() -> None:
    commit, record = Rounds._commit, Intents.record

    def late(self: Rounds, deliveries: Sequence[Delivery], sync: RoundSync) -> None:
        _replace(Intents, "record", lambda *_: None)
        commit(self, deliveries, sync)
        _replace(Intents, "record", record)
        published = [copy for each in deliveries for copy in each.copies if copy.staged is not None]
        if published and self._intents is not None:
            outcomes = [copy.outcome for copy in published]
            self._intents.record(published)
            for copy, outcome in zip(published, outcomes, strict=True):
                copy.outcome = outcome

    _replace(Rounds, "_commit", late)


@build("reply before sync")
def _reply_before_sync() -> None:
    report = Transaction._report

    def settle(_: Rounds, published: Sequence[Copy], __: RoundSync) -> None:
        for copy in published:
            copy.outcome = Delivered(copy.file)

    def sync_and_report(self: Transaction, copy: Copy) -> None:
        if copy.maildir is not None:
            copy.maildir.sync()
        report(self, copy)

    _replace(Rounds, "_settle", settle)
    _replace(Transaction, "_report", sync_and_report)


# ---- files ------------------------------------------------------------------------------------------


@build("non-exclusive create")
def _non_exclusive_create() -> None:
    _replace(disk, "_CREATE", disk._CREATE & ~os.O_EXCL)


@build("rename that replaces")
def _rename_that_replaces() -> None:
    def rename(_: Disk, name: str, new_name: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        os.rename(name, new_name, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    _replace(Disk, "rename_exclusive", rename)


@build("deleting foreign tmp files")
def _deleting_foreign_tmp_files() -> None:
    def reclaim(tmp: Directory, _: frozenset[str]) -> None:
        for name in tmp.disk.list_names(tmp.fd):
            tmp.disk.unlink(name, dir_fd=tmp.fd)

    _replace(maildirs, "reclaim", reclaim)


@build("short writes taken for whole")
def _short_writes() -> None:
    def write(self: Staged, data: bytes | memoryview) -> None:
        try:
            self._disk.write(self.fd, data)
        except OSError as exc:
            raise self._error(exc) from exc
        self.octets += len(data)

    _replace(Staged, "write", write)


# ---- the ledger's memory ----------------------------------------------------------------------------


@build("suppressing confirmed mail")
def _suppressing_confirmed_mail() -> None:
    _replace(Ledger, "confirm", Ledger.release)


@build("settled record forgotten")
def _settled_record_forgotten() -> None:
    _replace(Ledger, "release", Ledger.confirm)


@build("recovery forgets records")
def _recovery_forgets() -> None:
    def recover(connection: sqlite3.Connection) -> list[Record]:
        connection.execute("DELETE FROM records")
        return []

    _replace(ledger_tables, "recover", recover)


@build("QUIT taken for a proof")
def _quit_taken_for_a_proof() -> None:
    close = Connection._close

    def credulous(self: Connection) -> Talk:
        self._unproven.confirm()  # but Postfix sends QUIT together with the dot
        yield from close(self)

    _replace(Connection, "_close", credulous)


# ---- the barrier ------------------------------------------------------------------------------------


@build("no barrier")
def _no_barrier() -> None:
    _replace(Barrier, "verdict", lambda _: None)


@build("barrier blind behind QUIT")
def _barrier_blind_behind_quit() -> None:
    def peek(self: Barrier) -> Verdict | None:
        try:
            data = self._stream._sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except OSError as exc:
            return None if exc.errno == errno.EAGAIN else Verdict.GONE
        return None if data else Verdict.GONE

    _replace(Barrier, "verdict", peek)


def main(arguments: Sequence[str]) -> int:
    """Patch, and be lmtpd."""
    names, *rest = arguments
    for name in names.split("+"):
        BUILDS[name]()
    return lmtpd.__main__.main(rest)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
