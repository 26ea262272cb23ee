"""The recipients that a transaction has accepted so far, as the copies that are to be made for them."""

from collections.abc import Sequence

from lmtpd.delivery.copy import Copy
from lmtpd.delivery.outcomes import Delivered
from lmtpd.protocol.events import RecipientOffered
from lmtpd.recipients.mailbox import Mailbox
from storage.maildir import MaildirPath

_Identity = tuple[tuple[str, MaildirPath], ...]


class Roll:
    """Confined to the thread of its connection."""

    __slots__ = ("_issued", "_known", "copies", "has_aliases")

    def __init__(self) -> None:
        self.copies: list[Copy] = []  # in the order of the recipients, an alias's one behind the other
        self.has_aliases = False  # some recipient has several mailboxes
        self._known: dict[_Identity, Copy] = {}  # whose copy a repeated recipient shares
        self._issued: dict[bytes, int] = {}  # how often each path was named

    def accept(self, mailboxes: Sequence[Mailbox], event: RecipientOffered) -> Sequence[Copy]:
        """Enter a recipient, with a copy for each of its mailboxes; with one if it was named before."""
        identity = tuple((mailbox.address, mailbox.maildir) for mailbox in mailboxes)
        twin = self._known.get(identity)
        occurrence = self._issued.get(event.path, 0)
        self._issued[event.path] = occurrence + 1
        copies = [
            Copy(mailbox, event, occurrence=occurrence, twin=twin)
            for mailbox in (mailboxes if twin is None else mailboxes[:1])
        ]
        if len(copies) > 1:
            self.has_aliases = True
            for copy in copies:
                copy.siblings = tuple(copies)
        self.copies += copies
        self._known.setdefault(identity, copies[0])
        return copies

    def take_records(self) -> list[bytes]:
        """Return the keys of recorded copies, which are not ours any more then."""
        return _take([copy for copy in self.copies if copy.recorded])

    def take_records_of_delivered(self) -> list[bytes]:
        """The same for those only that were delivered."""
        return _take([copy for copy in self.copies if copy.recorded and isinstance(copy.outcome, Delivered)])

    def close(self) -> None:
        """The attempt has ended: nothing shall keep the copies, and the directories that they hold open."""
        if self.has_aliases:
            for copy in self.copies:
                copy.siblings = ()  # a circle


def _take(copies: Sequence[Copy]) -> list[bytes]:
    for copy in copies:
        copy.recorded = False
    return [copy.key for copy in copies]
