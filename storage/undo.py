"""The undo log: what a repair is about to do, on the disk before it is done.

One file for each run, `maildir-check.undo.<when>`, beside new/, cur/ and tmp/ of the Maildir: a file there
is nothing to any mail server. One JSON object a line, in the order of the deeds. A line may be there whose
deed was never done, since the run died in between; taking back finds that out.

As root the log is root's: its owner can neither read nor change it, so root may believe it.
"""

import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Self

from storage.directory import Directory
from storage.errors import MailboxUnusable
from storage.findings import Place

PREFIX = "maildir-check.undo."
_NAME = re.compile(re.escape(PREFIX) + r"[0-9]{1,20}")
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Step:
    """One deed, and what was there before."""

    do: str  # rename, mode, owner, directory, file, remove
    place: Place
    part: str = ""  # rename: where to
    name: str = ""
    before: tuple[int, ...] = ()  # mode: the old one; owner: uid and gid
    content: bytes | None = None  # file, remove: the old content; None: there was no file

    def line(self) -> bytes:
        """Write it down."""
        place = [list(self.place.folder), self.place.part, self.place.name]
        content = None if self.content is None else self.content.decode("latin-1")
        return json.dumps([self.do, place, self.part, self.name, list(self.before), content]).encode() + b"\n"

    @classmethod
    def read(cls, line: bytes) -> Self:
        """Read it back. ValueError."""
        do, (folder, part, name), new_part, new_name, before, content = json.loads(line)
        names = [*folder, part, name, new_part, new_name]
        if not all(isinstance(each, str) and "/" not in each and each not in (".", "..") for each in names):
            raise ValueError("a name that is none")
        place = Place(tuple(folder), part, name)
        old = None if content is None else content.encode("latin-1")
        return cls(do, place, new_part, new_name, tuple(int(number) for number in before), old)


class UndoLog:
    """The log of a run that is under way. Made with the first step, so that a clean Maildir gets none."""

    def __init__(self, maildir: Directory, *, now: int) -> None:
        """now: nanoseconds since 1970, for the name."""
        self._maildir = maildir
        self.name = f"{PREFIX}{now}"
        self._fd: int | None = None

    def begin(self) -> None:
        """Make the file, as whoever this process is now. OSError."""
        if self._fd is None:
            self._fd = self._maildir.disk.create(self.name, dir_fd=self._maildir.fd)
            self._maildir.sync()

    def add(self, steps: Iterable[Step]) -> None:
        """Note steps, durable on return: they may be taken now. OSError."""
        assert self._fd is not None
        rest = memoryview(b"".join(step.line() for step in steps))
        while rest:
            rest = rest[self._maildir.disk.write(self._fd, rest) :]
        self._maildir.disk.sync(self._fd)

    def close(self) -> None:
        """Let go of the file."""
        if self._fd is not None:
            self._maildir.disk.close(self._fd)


def outdated(maildir: Directory, *, before: float) -> Iterator[tuple[str, os.stat_result]]:
    """Yield the logs that were last written before a moment, in seconds since 1970. OSError."""
    for name in sorted(maildir.disk.list_names(maildir.fd)):
        if _NAME.fullmatch(name):
            status = maildir.disk.status(name, dir_fd=maildir.fd)
            if status.st_mtime < before:
                yield name, status


def latest(maildir: Directory) -> str | None:
    """Return the name of the newest log, None if there is none. OSError."""
    names = [name for name in maildir.disk.list_names(maildir.fd) if _NAME.fullmatch(name)]
    return max(names, key=lambda name: int(name.removeprefix(PREFIX)), default=None)


def steps(maildir: Directory, name: str) -> list[Step]:
    """Read a log; a last line that was never finished is none. MailboxUnusable for a false one; OSError."""
    fd = maildir.disk.open_file(name, dir_fd=maildir.fd)
    try:
        status = maildir.disk.status_of(fd)
        # A false log could give away, and so hide from quotas, whatever is in the Maildir.
        if os.getuid() == 0 and (status.st_uid != 0 or status.st_nlink != 1):
            raise MailboxUnusable(f"{name} is not root's; start the command as its owner")
        content = b""
        while piece := maildir.disk.read(fd, _CHUNK):
            content += piece
    finally:
        maildir.disk.close(fd)
    try:
        return [Step.read(line) for line in content.split(b"\n")[:-1]]
    except (ValueError, TypeError) as exc:
        raise MailboxUnusable(f"{name} is no undo log: {exc}") from exc
