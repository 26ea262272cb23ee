"""A folder being filled with mail from elsewhere: nothing twice, durable, in groups."""

from collections import Counter
from hashlib import sha256

from storage.adding import Adding, Place
from storage.contents import Contents
from storage.directory import Directory
from storage.incoming import Incoming
from storage.keywords import enter
from storage.names import NameSource
from storage.quota_change import enter_change
from storage.quota_limit import NOTHING, Usage

# So many messages, or so many octets, share their syncs, and appear together.
GROUP_MESSAGES = 128
GROUP_OCTETS = 32 << 20


class Trial:
    """What a `Filling` would do, without doing it. Confined to one thread."""

    is_group_full = False

    def __init__(self, folder: Directory | None) -> None:
        """folder: None if it is not there yet. OSError."""
        self._contents = Contents(folder)
        self._met: Counter[bytes] = Counter()  # in this source
        self.added = NOTHING
        self.skipped = 0

    def again(self) -> "Trial":
        """Return the trial of another source, which finds there what this one would have put there."""
        other = Trial(None)
        other._contents = self._contents
        return other

    def put(self, message: Incoming) -> None:
        """Count a message as one to be added, or as one that is there. OSError, StorageError."""
        digest = sha256(message.content).digest()
        self._met[digest] += 1
        # As many copies as the source has, those counted that are there already.
        if self._contents.copies(message.content) >= self._met[digest]:
            self.skipped += 1
            return
        self._add(message)
        self._contents.add(message.content)
        self.added += Usage(len(message.content), 1)

    def publish(self) -> None:
        """Make what was put durable and visible. OSError, StorageError: of the group nothing is promised."""

    def close(self) -> None:
        """Discard what was not published."""

    def _add(self, message: Incoming) -> None:
        pass


class Filling(Trial):
    """Puts messages of one source into one folder. Confined to one thread; close it."""

    def __init__(self, inbox: Directory, folder: Directory, names: NameSource) -> None:
        """inbox: the Maildir that the folder is in, where its `maildirsize` is. OSError."""
        super().__init__(folder)
        self._inbox = inbox
        self._folder = folder
        self._names = names
        self._group = Adding(folder, names)

    @property
    def is_group_full(self) -> bool:  # type: ignore[override]  # read only there, too
        """It is time to publish."""
        return len(self._group) >= GROUP_MESSAGES or self._group.octets >= GROUP_OCTETS

    def publish(self) -> None:
        """Do it."""
        group = self._group
        if not len(group):
            return
        change = Usage(group.octets, len(group))
        with group:
            group.publish()
        enter_change(self._inbox, change)
        self._group = Adding(self._folder, self._names)

    def close(self) -> None:
        """Do it."""
        self._group.close()

    def _add(self, message: Incoming) -> None:
        letters = enter(self._folder, message.keywords) if message.keywords else {}
        flags = message.flags + "".join(letters.values())
        part = "new" if message.is_new and not flags else "cur"
        self._group.stage([message.content], Place(part, flags, message.arrived_ns))
