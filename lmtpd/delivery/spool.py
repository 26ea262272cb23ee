"""Where a large body lies while it arrives: in the tmp/ of the first recipient that can hold it.

The file is that recipient's own copy, its fields on top, so a large message for one recipient is
written once. The others copy from it. When the file fails while the body arrives (disk full, quota),
the next recipient's tmp/ takes over what was written so far: recipients never share fate.

Where mailboxes have different owners, each of whom could write into a file of his own, the body lies
apart, in a place of the server's, and all copy from there.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress

from lmtpd.delivery.copy import Copy
from lmtpd.delivery.outcomes import deferred_by
from storage.errors import StorageError
from storage.maildir import Maildir
from storage.staging import Staged


class MailboxSpool:
    """The spool of one transaction. Confined to the thread of its connection; never raises."""

    __slots__ = ("_apart", "_candidates", "_fields_of", "body_offset", "host", "staged")

    def __init__(
        self,
        copies: Sequence[Copy],
        fields_of: Callable[[Copy], bytes],
        *,
        apart: Callable[[], Maildir] | None,
    ) -> None:
        """apart: opens the server's own place; None: all mailboxes have one owner."""
        self._candidates = [copy for copy in copies if copy.twin is None and copy.outcome is None]
        self._fields_of = fields_of
        self._apart = apart
        self.host: Copy | None = None  # whose copy the file is
        self.staged: Staged | None = None  # the file; None: no recipient can hold the body
        self.body_offset = 0  # where the body begins in the file, in octets

    def open(self) -> None:
        """Create the file with the first recipient that can, or apart."""
        owners = {copy.mailbox.maildir.rights for copy in self._candidates}
        if self._apart is not None and len(owners) > 1:
            with suppress(StorageError):  # then nobody's copy can be written, and each is told
                self.staged = self._apart().stage()
        else:
            self._move()

    def write(self, data: bytes) -> None:
        """Append data; on an error move to the next recipient's tmp/ and go on there."""
        if self.host is None:
            self._write_apart(data)
        while self.staged is not None and self.host is not None:
            written = self.staged.octets - self.body_offset
            try:
                with self.host.at_work:
                    self.staged.write(data)
            except StorageError as exc:
                self.host.outcome = deferred_by(exc)
                self._move(written)
            else:
                return

    def discard(self) -> None:
        """Remove the file unless it was published; best effort, never raises."""
        if self.staged is not None:
            self.staged.discard()
        self.staged = self.host = None

    def _write_apart(self, data: bytes) -> None:
        if self.staged is not None:
            try:
                self.staged.write(data)
            except StorageError:
                self.discard()

    def _move(self, octets: int = 0) -> None:
        """Begin a file with the next candidate that can, with the first octets of the body so far."""
        source, offset = self.staged, self.body_offset
        self.staged = self.host = None
        while self._candidates and self.staged is None:
            copy = self._candidates.pop(0)
            try:
                with copy.at_work:
                    self._begin(copy, source, offset, octets)
            except StorageError as exc:
                copy.outcome = deferred_by(exc)
        if source is not None:
            source.discard()

    def _begin(self, copy: Copy, source: Staged | None, offset: int, octets: int) -> None:
        assert copy.maildir is not None
        staged = copy.maildir.stage()
        try:
            fields = self._fields_of(copy)
            staged.write(fields)
            if source is not None:
                staged.write_from(source, offset, octets)
        except StorageError:
            staged.discard()
            raise
        self.host, self.staged, self.body_offset = copy, staged, len(fields)
