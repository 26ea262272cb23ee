"""One recipient's copy on its way through a transaction."""

import hashlib

from lmtpd.delivery.headers import original_recipient
from lmtpd.delivery.outcomes import Outcome
from lmtpd.delivery.slots import UNWATCHED, AtWork
from lmtpd.protocol.events import RecipientOffered
from lmtpd.recipients.mailbox import Mailbox
from storage.ledger import Record
from storage.maildir import Maildir
from storage.quota import Reservation
from storage.staging import Staged


class Copy:
    """The state of one accepted recipient. Confined to the thread of its connection."""

    __slots__ = ("address", "at_work", "event", "file", "folder", "is_hosted", "key", "mailbox",
                 "maildir", "occurrence", "original", "outcome", "parameters", "path", "recorded",
                 "reservation", "siblings", "staged", "twin", "unless_known", "waits")  # fmt: skip

    def __init__(
        self, mailbox: Mailbox, event: RecipientOffered, *, occurrence: int, twin: "Copy | None"
    ) -> None:
        self.mailbox = mailbox
        self.address = mailbox.address
        self.path = event.path  # the forward-path as issued, without angle brackets
        self.occurrence = occurrence  # the k-th time this path was issued in the transaction
        self.parameters = event.parameters  # of RCPT
        # The address before aliases, the client's or ours.
        self.original = original_recipient(event.parameters.get("ORCPT", b"")) or mailbox.alias
        self.twin = twin  # the same recipient named before: one copy, a reply each
        self.siblings: tuple[Copy, ...] = ()  # all copies of an alias, this one too; the first has the reply
        self.folder = mailbox.folder
        self.maildir: Maildir | None = None  # where the copy goes; None until it was opened
        self.staged: Staged | None = None
        self.is_hosted = False  # staged is the file that the body was written to as it arrived
        self.file = ""
        self.key = b""
        self.event: str | None = None  # to be told when the copy is delivered
        self.recorded = False  # the ledger has a record of ours for key
        self.waits = False  # another connection delivers under key at this moment
        self.reservation: Reservation | None = None  # of room in a mailbox that has a quota
        self.unless_known: Outcome | None = None  # for a mailbox that is full, unless this is a retry
        self.outcome: Outcome | None = None  # None while undecided
        self.at_work: AtWork = UNWATCHED  # what every call into the mailbox stands in

    def make_key(self, sender_path: bytes, digest: bytes) -> bytes:
        """What recognises a retry: sender, recipient as issued, its occurrence, the body as received.

        With several mailboxes behind the recipient, also which of them. NUL separates: no path contains it,
        the digest's length is fixed.
        """
        text = b"%b\0%b\0%d\0%b" % (sender_path, self.path, self.occurrence, digest)
        if self.siblings:
            text += b"\0%b" % self.address.encode()
        self.key = hashlib.sha256(text).digest()
        return self.key

    @property
    def has_reply(self) -> bool:
        """Whether it is this copy that the recipient's reply stands for."""
        return not self.siblings or self.siblings[0] is self

    def record(self) -> Record:
        """The intent to publish this copy; call when it is staged."""
        assert self.maildir is not None
        assert self.staged is not None
        return Record(self.key, self.maildir.path, self.staged.name, self.file, self.event)

    def sync(self) -> None:
        """Make what is staged durable in tmp/. StorageError."""
        assert self.staged is not None
        self.staged.sync()

    def choose_another_name(self) -> None:
        """Give the file another name to be published under; its sizes stay in it."""
        assert self.maildir is not None
        self.file = self.maildir.another_name() + self.file[self.file.index(",") :]

    def discard(self) -> None:
        """Remove what is staged and not published; best effort, never raises."""
        if self.reservation is not None:
            self.reservation.give_back()
        if self.staged is not None:
            self.staged.discard()
