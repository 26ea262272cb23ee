"""Maildirs with messages of known sizes, for tests of quotas."""

import itertools
import os
from pathlib import Path

from storage.disk import Disk
from storage.maildir import MaildirPath
from storage.names import NameSource
from storage.quota import QuotaBox, QuotaFiles
from storage.quota_count import Counting
from storage.quota_limit import QuotaLimit

_COUNT = itertools.count(1)
_ALL = Counting()


def make_maildir(path: Path) -> Path:
    for name in ("new", "cur", "tmp"):
        (path / name).mkdir(parents=True)
    return path


def put(maildir: Path, octets: int, *, part: str = "cur", named: bool = True, flags: str = "S") -> Path:
    """Store a message, with or without its size in the name."""
    size = f",S={octets}" if named else ""
    name = f"17000000{next(_COUNT):03}.M1P1.host{size}" + (f":2,{flags}" if part == "cur" else "")
    path = maildir / part / name
    path.write_bytes(b"x" * octets)
    return path


def files_of(disk: Disk | None = None) -> QuotaFiles:
    return QuotaFiles(disk or Disk(), NameSource("mx.example.org", f"{os.getpid():x}"))


def box_of(maildir: Path, limit: str | None, counting: Counting = _ALL) -> QuotaBox:
    where = MaildirPath(str(maildir.parent), (maildir.name,))
    return QuotaBox(where, counting, None if limit is None else QuotaLimit.parse(limit))


def lines_of(maildir: Path) -> list[str]:
    """The file's lines, blanks folded."""
    return [" ".join(line.split()) for line in (maildir / "maildirsize").read_text().splitlines()]


def make_old(maildir: Path, seconds: float) -> None:
    """Let the file look as if it had been written so long ago."""
    path = maildir / "maildirsize"
    when = path.stat().st_mtime - seconds
    os.utime(path, (when, when))
