"""The order of a delivery's calls, checked over everything that a server did, in all of its threads.

    write* < fsync(tmp/X) < write(ledger.db-wal) < fdatasync(ledger.db-wal) < rename(tmp/X, new/X)
           < fsync(new/) < send(250 for that recipient)

A step counts once it has returned without an error, and serves only what had returned before it began: the
sync of one thread may well serve another, but never one that came too late. syncfs serves all files and
directories. Which of several files of a mailbox a reply is for, nobody can see: it takes one that is durable.

Besides: a directory that was made is synced into its parent before a reply that relies on it, as the ledger's
file is into its own; message files are created exclusively and published without replacing anything; and a
file that could not be synced or closed is never synced again, nor published.

The trace is the shim's, from the start of the server on. What is written to the log is not in it: when
several deliver at once, the record that a write holds may be another's.
"""

import errno
import os
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path, PurePath

from tests.crash.oracle import Mailboxes
from tests.crash.shim import SYNCS, Call, Kind

_NOREPLACE = 1
_FINAL = re.compile(rb"250 2\.0\.0 <([^>]+)> Saved")
_SENDER_OK = b"250 2.1.0 "
# Answers after which another way to write is tried: nothing is wrong with the file.
_NO_FAULT = frozenset({errno.EINTR, errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})
_WRITES = frozenset({Kind.WRITE, Kind.COPY, Kind.TRUNCATE})


class Step(IntEnum):
    """How far a message file has come; the values are in order."""

    WRITTEN = 0
    SYNCED = 1
    RECORDED = 2
    RECORD_DURABLE = 3
    PUBLISHED = 4
    DURABLE = 5


_MISSING = {
    Step.WRITTEN: "it is not synced",
    Step.SYNCED: "it has no record in the ledger",
    Step.RECORDED: "its record is not durable",
}


@dataclass(slots=True, eq=False)
class _File:
    path: PurePath
    step: Step = Step.WRITTEN
    written_until: int = 0  # on the trace's clock; without end while a write has not returned
    failed: bool = False
    maildir: PurePath | None = None
    published_at: int = 0  # when the rename began
    answered: bool = False  # a 250 was sent for it
    names: list["_File"] = field(default_factory=list)
    """Every name of the file, this one too: what is written and synced is so under all of them."""


def wrong_orders(calls: Iterable[Call], mailboxes: Mailboxes, state: Path) -> list[str]:
    """Return every step that was taken too early; the trace begins before the server does."""
    automaton = _Automaton(mailboxes, PurePath(os.path.realpath(state)))
    for call, has_ended in _events(calls):
        (automaton.end if has_ended else automaton.begin)(call)
    return automaton.violations


def deliveries(calls: Iterable[Call]) -> int:
    """Count the replies that promise a copy: a proof over none would prove nothing."""
    return sum(len(_FINAL.findall(call.other)) for call in calls if call.kind is Kind.SEND)


def _events(calls: Iterable[Call]) -> Iterator[tuple[Call, bool]]:
    """Give each call at its begin and, unless it never returned, at its end, in the order of the clock."""
    moments = []
    for call in calls:
        moments.append((call.begin, False, call))
        if call.end is not None:
            moments.append((call.end, True, call))
    for _, has_ended, call in sorted(moments, key=lambda moment: moment[0]):
        yield call, has_ended


class _Automaton:
    def __init__(self, mailboxes: Mailboxes, state: PurePath) -> None:
        self.violations: list[str] = []
        self._mailboxes = mailboxes
        self._ledger, self._log = state / "ledger.db", state / "ledger.db-wal"
        self._files: dict[PurePath, _File] = {}
        self._entries: set[PurePath] = set()  # made, and their directory not yet synced
        self._since: defaultdict[tuple[int, int], int] = defaultdict(int)  # connection -> its latest MAIL
        self._synced_since: dict[PurePath, int] = {}  # new/ -> begin of its latest sync that went well
        self._all_synced_since = 0  # the same of the whole file system
        self._served: dict[int, tuple[list[_File], list[PurePath]]] = {}  # by a call that has not returned

    # ---- a call begins --------------------------------------------------------------------------

    def begin(self, call: Call) -> None:
        path = PurePath(call.path)
        file = self._files.get(path)
        if call.kind is Kind.SEND:
            self._replies(call)
        elif call.kind in _WRITES and path == self._log:
            self._serves(call, Step.SYNCED)
        elif call.kind in _WRITES and file is not None:
            if file.step > Step.WRITTEN:
                self._wrong(call, "a file is written after it was synced")
            for name in file.names:
                name.step = Step.WRITTEN
                name.written_until = sys.maxsize if call.end is None else call.end
        elif call.kind in SYNCS:
            self._syncs(call, path, file)
        elif call.kind in {Kind.RENAME, Kind.LINK}:
            self._publishes(call, file)

    def _serves(self, call: Call, step: Step) -> None:
        self._served[call.begin] = ([file for file in self._files.values() if file.step is step], [])

    def _syncs(self, call: Call, path: PurePath, file: _File | None) -> None:
        if call.kind is Kind.SYNCFS:
            steps = (Step.WRITTEN, Step.PUBLISHED)
            served = [file for file in self._files.values() if file.step in steps]
            self._served[call.begin] = (served, list(self._entries))
        elif file is not None:
            if file.failed:
                self._wrong(call, "a sync is repeated after an error")
            self._served[call.begin] = (list(file.names) if file.written_until < call.begin else [], [])
        elif path == self._log:
            self._serves(call, Step.RECORDED)
        else:
            published = [
                file
                for file in self._files.values()
                if file.step is Step.PUBLISHED and file.maildir is not None and file.maildir / "new" == path
            ]
            self._served[call.begin] = (published, [entry for entry in self._entries if entry.parent == path])

    def _publishes(self, call: Call, file: _File | None) -> None:
        target = PurePath(os.fsdecode(call.other))
        if target.parent.name != "new":
            return
        if file is None:
            self._wrong(call, "a file is published that was not written in tmp/")
            return
        if file.failed:
            self._wrong(call, "a file is published after an error")
        elif file.step in _MISSING:
            self._wrong(call, f"a file is published though {_MISSING[file.step]}")
        if call.kind is Kind.RENAME and not call.flags & _NOREPLACE:
            self._wrong(call, "a rename may replace another message")

    def _replies(self, call: Call) -> None:
        connection = (call.pid, call.fd)
        for address in _FINAL.findall(call.other):
            maildir = PurePath(os.path.realpath(self._mailboxes.of(address.decode())))
            if not self._takes_a_file(maildir, self._since[connection]):
                self._wrong(call, "250 before the sync of new/")
            elif self._latest_sync_of(maildir) <= self._since[connection]:
                self._wrong(call, "250, and new/ was not synced in this transaction")
            for entry in sorted(self._entries):
                if entry == self._ledger or maildir.is_relative_to(entry) or entry.is_relative_to(maildir):
                    self._wrong(call, f"250, and the entry of {entry} is not synced")
        if _SENDER_OK in call.other:
            self._since[connection] = call.begin

    def _latest_sync_of(self, maildir: PurePath) -> int:
        return max(self._all_synced_since, self._synced_since.get(maildir / "new", 0))

    def _takes_a_file(self, maildir: PurePath, since: int) -> bool:
        """Find the file that a reply is for; True as well if there is none: an earlier one was recognised."""
        ours = [
            file
            for file in self._files.values()
            if file.maildir == maildir and file.published_at > since and not file.answered
        ]
        for file in ours:
            if file.step is Step.DURABLE:
                file.answered = True
                return True
        return not ours

    # ---- a call has returned --------------------------------------------------------------------

    def end(self, call: Call) -> None:
        path = PurePath(call.path)
        if call.error:
            self._fails(call, path)
        elif call.kind is Kind.OPEN and call.flags & os.O_CREAT:
            self._created(call, path)
        elif call.kind is Kind.MKDIR:
            self._entries.add(path)
        elif call.kind in _WRITES and path == self._log:
            self._advance(call, Step.SYNCED, Step.RECORDED)
        elif call.kind in SYNCS:
            self._synced(call, path)
        elif call.kind in {Kind.RENAME, Kind.LINK} and path in self._files:
            target = PurePath(os.fsdecode(call.other))
            (self._linked if target.parent.name == "tmp" else self._published)(path, target, call)

    def _fails(self, call: Call, path: PurePath) -> None:
        self._served.pop(call.begin, None)
        file = self._files.get(path)
        breaks = call.kind in SYNCS or call.kind is Kind.CLOSE
        breaks = breaks or (call.kind in _WRITES and call.error not in _NO_FAULT)
        if file is not None and breaks:
            for name in file.names:
                name.failed = True

    def _created(self, call: Call, path: PurePath) -> None:
        if path.parent.name == "tmp" and path.is_relative_to(os.path.realpath(self._mailboxes.root)):
            if not call.flags & os.O_EXCL:
                self._wrong(call, "a file is created over what may be there")
            self._files[path] = file = _File(path)
            file.names.append(file)
        elif path == self._ledger and call.flags & os.O_EXCL:
            self._entries.add(path)

    def _synced(self, call: Call, path: PurePath) -> None:
        if call.kind is Kind.SYNCFS:
            files, entries = self._served.get(call.begin, ([], []))
            self._entries.difference_update(entries)
            self._all_synced_since = call.begin
            self._served[call.begin] = (files, [])
            self._advance(call, Step.WRITTEN, Step.SYNCED, keep=True)
            self._advance(call, Step.PUBLISHED, Step.DURABLE)
        elif path in self._files:
            self._advance(call, Step.WRITTEN, Step.SYNCED)
        elif path == self._log:
            self._advance(call, Step.RECORDED, Step.RECORD_DURABLE)
        else:
            _, entries = self._served.get(call.begin, ([], []))
            self._entries.difference_update(entries)
            self._synced_since[path] = call.begin
            self._advance(call, Step.PUBLISHED, Step.DURABLE)

    def _linked(self, path: PurePath, target: PurePath, call: Call) -> None:
        """A file has got one more name in a tmp/, to be recorded and published by itself."""
        file = self._files[path]
        step = min(file.step, Step.SYNCED)
        other = _File(target, step, file.written_until, failed=file.failed, names=file.names)
        self._files[target] = other
        file.names.append(other)

    def _published(self, path: PurePath, target: PurePath, call: Call) -> None:
        file = self._files.pop(path)
        file.path, file.step, file.maildir = target, Step.PUBLISHED, target.parent.parent
        file.published_at = call.begin
        self._files[target] = file

    def _advance(self, call: Call, before: Step, after: Step, *, keep: bool = False) -> None:
        files, _ = self._served[call.begin] if keep else self._served.pop(call.begin, ([], []))
        for file in files:
            if file.step is before and not (before is Step.WRITTEN and file.written_until > call.begin):
                file.step = after

    def _wrong(self, call: Call, what: str) -> None:
        self.violations.append(f"{what}: {call}")
