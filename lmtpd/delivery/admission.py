"""May this recipient be served now? The limits that keep a site alive, in the order of what they cost.

The rule: whatever stands against a recipient is answered at RCPT with a 4xx, for that recipient alone, and
before the mailbox is touched where the reason is that it must not be touched. One per worker; each worker
counts for itself, so nothing is shared and nothing survives a worker's death. Without limits there is no
`Admission` at all, and a limit that is off is None here.
"""

from dataclasses import dataclass

from lmtpd.delivery.breaker import Breaker, Fault
from lmtpd.delivery.copy import Copy
from lmtpd.delivery.outcomes import Cause, Deferred, Delivered
from lmtpd.delivery.peer import Peer
from lmtpd.delivery.rates import Buckets
from lmtpd.delivery.reception import Answer, Refusals, answer_rcpt
from lmtpd.delivery.slots import UNWATCHED, AtWork, Slots
from lmtpd.protocol import replies
from lmtpd.protocol.events import Envelope, RecipientOffered
from lmtpd.recipients.mailbox import Mailbox
from lmtpd.recipients.owners import Recipients
from storage.errors import is_of_file_system
from storage.free_space import Free, FreeSpace
from storage.maildir import MaildirPath

# Recipients remembered because they are on another file system than the root; some 2 MB. Forgetting one
# costs a touch of a file system that should be left alone.
REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class Floor:
    """How much must stay free behind a message; 0 asks for nothing."""

    octets: int
    percent: int
    inodes: int

    def why_too_low(self, free: Free, message_octets: int) -> str:
        """Say what would not be left; "" if there is room."""
        if free.octets - message_octets < self.octets:
            return f"{free.octets} octets free, limits.free_octets = {self.octets}"
        if free.percent < self.percent:
            return f"{free.percent:.1f} % free, limits.free_percent = {self.percent}"
        if free.inodes is not None and free.inodes < self.inodes:
            return f"{free.inodes} inodes free, limits.free_inodes = {self.inodes}"
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Recipients a minute, by who they come from and where they go."""

    sender: Buckets | None = None
    client: Buckets | None = None
    domain: Buckets | None = None

    def why_exceeded(self, event: RecipientOffered, envelope: Envelope, peer: Peer) -> tuple[str, str]:
        """Take a token from each bucket, or from none; return (cause, detail), both "" if all had one."""
        taken: list[tuple[Buckets, str]] = []
        for word, buckets, key in (
            ("sender", self.sender, str(envelope.sender or "")),  # <> is nobody: bounces come from everywhere
            ("client", self.client, envelope.forwarded.get("ADDR", peer.address)),
            ("domain", self.domain, event.address.domain),
        ):
            if buckets is None or not key:
                continue
            if not buckets.take(key):
                for earlier, its_key in taken:
                    earlier.give_back(its_key)
                return f"{word}_rate", f"{key}: more than {buckets.per_minute} recipients a minute"
            taken.append((buckets, key))
        return "", ""


class Admission:
    """Answers RCPT, and turns away those that cannot be served now. Any thread may use it."""

    def __init__(
        self,
        directory: Recipients,
        *,
        quotas: Refusals | None = None,
        slots: Slots | None = None,
        breaker: Breaker | None = None,
        floor: Floor | None = None,
        free_space: FreeSpace,
        rates: Rates | None = None,
        device: int | None = None,
    ) -> None:
        """device: the st_dev of the mailboxes' root, where recipients are who never got anything yet."""
        self._directory = directory
        self._quotas = quotas
        self._slots = slots
        self._breaker = breaker
        self._floor = floor
        self._free_space = free_space
        self._rates = rates
        self._device = device
        # Single steps on a dict are atomic.
        self._elsewhere: dict[bytes, int] = {}

    def answer(self, event: RecipientOffered, envelope: Envelope, peer: Peer) -> Answer:
        """Answer RCPT: whose mailbox it is, or why not, or why not now."""
        answer = self.foresee(event, octets=envelope.size or 0)
        if answer.mailbox is not None and self._rates is not None:
            cause, detail = self._rates.why_exceeded(event, envelope, peer)
            if cause:
                return Answer(None, replies.TOO_MUCH_MAIL, cause, detail)
        return answer

    def foresee(self, event: RecipientOffered, *, octets: int) -> Answer:
        """Tell what RCPT would be answered, without taking from anybody's rate. octets: 0 if not known."""
        device = self._elsewhere.get(event.path, self._device)
        if self._breaker is not None and device is not None and (fault := self._breaker.why_open(device)):
            reply = replies.NO_SPACE if fault.is_full else replies.FILE_SYSTEM_FAULT
            return Answer(None, reply, "file_system", f"left alone for a while after: {fault.detail}")
        answer = self._look_up(event, octets=octets)
        if answer.mailbox is None:
            if answer.error is not None and is_of_file_system(answer.error):
                self._failed(device, Fault(answer.detail, is_full=False))
            return answer
        for mailbox in (answer.mailbox, *answer.others):
            if (why_not := self._why_not(mailbox, device, octets=octets)) is not None:
                return why_not
        return answer

    def at_work_in(self, mailbox: Mailbox) -> AtWork:
        """Return what every call into the mailbox stands in."""
        return UNWATCHED if self._slots is None else self._slots.of(mailbox.maildir)

    def ended(self, copy: Copy) -> None:
        """Learn from what became of a copy; once for each."""
        outcome = copy.outcome
        if self._breaker is None or copy.twin is not None:
            return
        device = self._elsewhere.get(copy.path, self._device)
        if copy.maildir is not None:
            device = copy.maildir.identity[0]
            if not copy.siblings:  # an alias's may lie on several file systems
                self._learn(copy.path, device)
        if isinstance(outcome, Deferred) and outcome.of_file_system:
            self._failed(device, Fault(outcome.detail, is_full=outcome.cause is Cause.DISK_FULL))
        elif isinstance(outcome, Delivered) and device is not None:
            self._breaker.worked(device)

    def _look_up(self, event: RecipientOffered, *, octets: int) -> Answer:
        """Ask directory and quota, which look at the mailbox; what hangs must not take all threads."""
        if self._slots is None:
            return answer_rcpt(self._directory, self._quotas, event.address, octets=octets)
        slot = self._slots.of(event.address)
        if why := self._slots.why_stuck(slot):
            return Answer(None, replies.MAILBOX_BUSY, "mailbox_busy", why)
        with slot:
            return answer_rcpt(self._directory, self._quotas, event.address, octets=octets)

    def _why_not(self, mailbox: Mailbox, device: int | None, *, octets: int) -> Answer | None:
        if self._slots is not None and (why := self._slots.why_stuck(self._slots.of(mailbox.maildir))):
            return Answer(None, replies.MAILBOX_BUSY, "mailbox_busy", why)
        if self._floor is not None and (
            why := self._why_full(self._floor, mailbox.maildir, device, octets=octets)
        ):
            return Answer(None, replies.NO_SPACE, "free_space", why)
        return None

    def _why_full(self, floor: Floor, maildir: MaildirPath, device: int | None, *, octets: int) -> str:
        # A mailbox that is not made yet has no file system but its root's.
        where = maildir.root if device is None or device == self._device else maildir.path
        try:
            free = self._free_space.of(where if device is None else device, where)
        except OSError:
            return ""  # what is wrong there, the delivery will find out and name
        return floor.why_too_low(free, octets)

    def _learn(self, path: bytes, device: int) -> None:
        if device != self._elsewhere.get(path, self._device):
            if len(self._elsewhere) >= REMEMBERED:
                self._elsewhere.clear()
            self._elsewhere[path] = device

    def _failed(self, device: int | None, fault: Fault) -> None:
        if self._breaker is not None and device is not None:
            self._breaker.failed(device, fault)
