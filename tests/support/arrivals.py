"""Mail files put where a test wants them, and a folder read back: its messages, their flags and dates."""

import os
from pathlib import Path

from storage.messages import messages
from tests.support.maildirs import wire_octets
from tests.support.scripting import opened

WHEN = 1795514400  # Tue Nov 24 10:00:00 2026

MBOX = b"""From a@example.org Tue Nov 24 10:00:00 2026
Status: RO
X-Status: AF
X-Keywords: $Junk work
Subject: one

>From here
on

From b@example.org Tue Nov 24 10:00:01 2026
Subject: two

two

"""


def stored(folder: Path) -> dict[bytes, tuple[str, str, int]]:
    """Return what is in a folder: part, flags and date by content. Names must have the right sizes."""
    found = {}
    for message in messages(opened(folder)).values():
        path = folder / message.part / message.name
        data = path.read_bytes()
        assert f",S={len(data)},W={wire_octets(data)}" in message.name
        assert path.stat().st_mode & 0o7777 == 0o600
        found[data] = (message.part, message.flags, int(path.stat().st_mtime))
    return found


def put(folder: Path, name: str, content: bytes, when: int = WHEN) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)
    os.utime(folder / name, (when, when))
