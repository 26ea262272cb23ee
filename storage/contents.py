"""What a folder holds, by content: so that an import can be run twice and adds nothing twice.

Only messages of a size that is asked for are read. Copies are counted, not merged: a folder that is to hold
a message three times gets it three times.
"""

from collections import Counter, defaultdict
from contextlib import suppress
from hashlib import sha256

from storage.directory import Directory
from storage.errors import MailboxMissing
from storage.messages import MessageFile, locate, messages, opened, pieces


class Contents:
    """The contents of one folder. Confined to one thread."""

    def __init__(self, folder: Directory | None) -> None:
        """Look at the size of every message; None is a folder without any. OSError."""
        self._folder = folder
        self._unread: defaultdict[int, list[MessageFile]] = defaultdict(list)
        self._copies: Counter[bytes] = Counter()
        for message in messages(folder).values() if folder else ():
            assert folder is not None
            with suppress(MailboxMissing):  # deleted meanwhile
                place, status = locate(folder, message)
                self._unread[status.st_size].append(place)

    def copies(self, content: bytes) -> int:
        """Tell how often the folder holds this. OSError, StorageError."""
        for message in self._unread.pop(len(content), ()):
            assert self._folder is not None
            with suppress(MailboxMissing):
                self._copies[digest_of(self._folder, message)] += 1
        return self._copies[sha256(content).digest()]

    def add(self, content: bytes) -> None:
        """Note that it was put there."""
        self.copies(content)
        self._copies[sha256(content).digest()] += 1


def digest_of(folder: Directory, message: MessageFile) -> bytes:
    """Return the SHA-256 of a message. MailboxMissing, OSError."""
    digest = sha256()
    with opened(folder, message) as (_, fd):
        for piece in pieces(fd):
            digest.update(piece)
    return digest.digest()
