"""The source `file`: users in a file, Dovecot's passwd-file or TOML, read again when it has changed.

The rule: a file that is faulty, empty or has just been written is no reason to call anybody unknown. Who
is in the last good content goes on receiving.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from threading import Lock

from lmtpd.recipients.entry import Entry
from lmtpd.recipients.lookup import AskAgain, LookupFailed, Question, SourceDown

# Whoever is missing from a file that is this young may be in the part that its editor has yet to write.
SETTLING_S = 2.0
FILE_OCTETS = 256 << 20  # some two million users

Parser = Callable[[bytes], Mapping[str, Entry]]


class FileFault(ValueError):
    """The content cannot be used; one problem each line."""


@dataclass(frozen=True, slots=True)
class _Content:
    identity: tuple[int, int, int, int]
    entries: Mapping[str, Entry]
    fault: str  # why the file as it is now was not taken; "": entries are its content
    changed_at: float  # on the file system's clock


class FileLookup:
    """Looks addresses up in a file: "user@domain", then "user", then "@domain". Any thread may ask."""

    asks_for_detail = False

    def __init__(
        self, path: str, parse: Parser, *, name: str = "file", clock: Callable[[], float] = time.time
    ) -> None:
        """parse: reads the whole content. Raises FileFault."""
        self.name = f"{name} {path}"
        self._path = path
        self._parse = parse
        self._clock = clock
        self._lock = Lock()  # one thread reads the file
        self._content = _Content((0, 0, 0, 0), {}, "has not been read", 0.0)

    def find(self, question: Question) -> Entry | None:
        """Return the entry of the address. SourceDown, LookupFailed."""
        content = self._current()
        for key in (question.address, question.user, f"@{question.domain}"):
            if (entry := content.entries.get(key)) is not None:
                return entry
        if content.fault:
            raise LookupFailed(content.fault)
        if self._clock() - content.changed_at < SETTLING_S:
            raise AskAgain(f"{self._path} does not have it, but is being written")
        return None

    def users(self) -> Iterator[str]:
        """Yield everybody in the file. LookupFailed: it cannot be read, or may not be all of it."""
        content = self._current()
        if content.fault:
            raise LookupFailed(content.fault)
        yield from content.entries

    def close(self) -> None:
        """Nothing is held."""

    def _current(self) -> _Content:
        try:
            if _identity(os.stat(self._path)) == self._content.identity:
                return self._content
            with self._lock:
                return self._read()
        except OSError as exc:
            raise SourceDown(f"{self._path}: {exc.strerror or exc}") from exc

    def _read(self) -> _Content:
        with open(self._path, "rb") as file:
            status = os.fstat(file.fileno())
            if _identity(status) == self._content.identity:
                return self._content
            octets = file.read(FILE_OCTETS + 1)
        try:
            entries, fault = self._entries_of(octets), ""
        except FileFault as exc:
            entries, fault = self._content.entries, f"{self._path} is faulty: {exc}"
        self._content = _Content(_identity(status), entries, fault, status.st_mtime)
        return self._content

    def _entries_of(self, octets: bytes) -> Mapping[str, Entry]:
        if len(octets) > FILE_OCTETS:
            raise FileFault(f"it has more than {FILE_OCTETS} octets")
        entries = self._parse(octets)
        if not entries:
            raise FileFault("nobody is in it")
        return entries


def _identity(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size
