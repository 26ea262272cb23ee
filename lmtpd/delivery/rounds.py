"""Steps 1 to 5 for all recipients of all transactions that are ready at the same moment.

    1 decide, 2 stage -> 3 intend -> 4 barrier -> 5 publish

A disk makes many files durable in hardly more time than one, and a thread that waits for a disk is woken at
a price. So transactions that end while others are being delivered gather, and go through the steps together:
one sync for all their files, one commit of the ledger, one sync of all new/. A thread for each file system
does the work. There is no timer: a transaction that comes alone goes alone, at once.

The rule: a round shares calls, never fate. What fails for one copy is that copy's outcome. And a round is
only for mailboxes on one and the same local file system, where a call that hangs would hang all of them
anyway; whatever else there is (NFS, FUSE, several file systems, large bodies) goes alone, in the thread that
brings it.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from threading import Lock

from lmtpd.delivery import alias
from lmtpd.delivery.announcing import Announcer
from lmtpd.delivery.committer import Committer
from lmtpd.delivery.copy import Copy
from lmtpd.delivery.intent import Intents
from lmtpd.delivery.outcomes import Cause, Deferred, Delivered, deferred_by
from lmtpd.delivery.publish import publish
from lmtpd.delivery.summary import Timing
from lmtpd.report.reporter import Reporter
from storage.errors import StorageError
from storage.syncing import NOTHING_TO_SYNC, RoundSync

ROUND_DELIVERIES = 256  # up to 32 MiB of bodies
COMMITTERS = 1  # for each file system; with two, rounds are smaller and cost more (docs/performance.md)

# How long a copy waits for the same key in another connection to be settled. That connection is
# nearly always one whose client has just closed it, so this is milliseconds; then 451.
IN_FLIGHT_WAIT_S = 2.0
_IN_FLIGHT_PAUSE_S = 0.02


@dataclass(slots=True, eq=False)
class Delivery:
    """One transaction's part in a round; in the hands of one thread at a time."""

    id: str
    copies: Sequence[Copy]  # one for each mailbox
    write: Callable[[Copy], None]  # decide, and write the copy into tmp/; StorageError
    barrier: Callable[[], Deferred | None]  # why nothing of this must be published, if so
    timing: Timing
    has_aliases: bool = False  # some copies share their fate
    error: Exception | None = None  # a bug of ours that ended the round: nothing is known of the copies

    @property
    def undecided(self) -> list[Copy]:
        """The copies that nothing has happened to yet."""
        return [copy for copy in self.copies if copy.outcome is None]

    @property
    def file_system(self) -> int | None:
        """The one file system that a round can sync as a whole for it (st_dev); None: it goes alone."""
        devices = set()
        for copy in self.copies:
            if copy.maildir is not None and copy.outcome is None:
                devices.add(copy.maildir.shared_device)
        return devices.pop() if len(devices) == 1 else None

    @property
    def waits(self) -> bool:
        """Whether a copy is being delivered by another connection at this moment."""
        return any(copy.waits for copy in self.copies)


_Waiting = tuple[Delivery, Callable[[], None]]  # and whom to tell


class Rounds:
    """Takes deliveries through the steps. One per worker, safe for all its threads."""

    def __init__(
        self, intents: Intents | None, reporter: Reporter, *, announcer: Announcer | None = None
    ) -> None:
        """intents: None if retries are not to be recognised."""
        self._intents = intents
        self._announcer = announcer
        self._reporter = reporter
        self._lock = Lock()  # guards the next
        self._committers: dict[int, Committer[_Waiting]] = {}  # by file system

    @property
    def recognises(self) -> bool:
        """Whether retries are recognised."""
        return self._intents is not None

    def submit(self, delivery: Delivery, done: Callable[[], None]) -> None:
        """Deliver in the next round of its file system; call done from there, which must not wait nor raise.

        Then every copy has an outcome, and what is delivered is durable; or it waits for another
        connection, or the delivery has an error: settle() sees to both.
        """
        assert delivery.file_system is not None
        try:
            committer = self._committer_of(delivery.file_system)
        except (RuntimeError, MemoryError):
            self._deliver([(delivery, done)])  # no thread can be had: this one, then
        else:
            committer.put((delivery, done))

    def deliver(self, delivery: Delivery) -> None:
        """Deliver alone: on return every copy has an outcome, and what is delivered is durable."""
        self._perform([delivery])
        self.settle(delivery)

    def settle(self, delivery: Delivery) -> None:
        """Bring a delivery to its end: wait for other connections if need be. Raises its error."""
        if delivery.error is not None:
            raise delivery.error
        give_up = time.monotonic() + IN_FLIGHT_WAIT_S
        while delivery.waits:
            if time.monotonic() >= give_up:
                for copy in delivery.copies:
                    if copy.waits:
                        copy.waits = False
                        copy.outcome = Deferred(Cause.IN_FLIGHT, "another connection is delivering it")
                self.share_fate(delivery.copies)
                return
            time.sleep(_IN_FLIGHT_PAUSE_S)
            with _begin_round([delivery]) as sync:
                self._commit([delivery], sync)

    def close(self) -> None:
        """Let the threads end; no delivery may be under way."""
        with self._lock:
            for committer in self._committers.values():
                committer.close()
            self._committers.clear()

    def stage(self, delivery: Delivery) -> None:
        """Decide and stage only, for publish() later (`hold`)."""
        with _begin_round([delivery]) as sync:
            self._stage([delivery], sync)

    def publish(self, delivery: Delivery) -> None:
        """Record and publish what stage() has staged."""
        with _begin_round([delivery]) as sync:
            self._commit([delivery], sync)
        self.settle(delivery)

    def share_fate(self, copies: Sequence[Copy]) -> None:
        """Before anything is published: what failed for one copy of an alias fails for all of them."""
        self._withdraw(alias.share_fate(copies))

    def guard(self, transaction_id: str, copy: Copy, step: Callable[[Copy], None]) -> None:
        """Do one step for one copy; what goes wrong is that copy's outcome (RFC 2033 4.2)."""
        try:
            with copy.at_work:
                step(copy)
        except StorageError as exc:
            copy.outcome = deferred_by(exc)
        except Exception as exc:  # noqa: BLE001 a bug of ours: this recipient's mail waits, nobody's bounces
            self._reporter.bug(exc, transaction=transaction_id, recipient=copy.address)
            copy.outcome = Deferred(Cause.BUG, repr(exc))

    def _committer_of(self, device: int) -> Committer[_Waiting]:
        with self._lock:
            committer = self._committers.get(device)
            if committer is None:
                committer = Committer(self._deliver, threads=COMMITTERS, at_most=ROUND_DELIVERIES)
                self._committers[device] = committer
        return committer

    def _deliver(self, batch: Sequence[_Waiting]) -> None:
        """Perform a round, and tell those who wait for it. Never raises."""
        deliveries = [delivery for delivery, _ in batch]
        try:
            self._perform(deliveries)
        except Exception as exc:  # noqa: BLE001 a bug of ours: each connection answers 451 for it
            for delivery in deliveries:
                delivery.error = exc
        for _, done in batch:
            done()

    def _perform(self, deliveries: Sequence[Delivery]) -> None:
        with _begin_round(deliveries) as sync:
            self._stage(deliveries, sync)  # 1 decide, 2 stage
            self._commit(deliveries, sync)  # 3 intend, 4 barrier, 5 publish

    # -- steps 1 and 2

    def _stage(self, deliveries: Sequence[Delivery], sync: RoundSync) -> None:
        """Have all copies written, and then synced: one commit of the journal serves them all."""
        for delivery in deliveries:
            for copy in delivery.undecided:
                self.guard(delivery.id, copy, delivery.write)
            delivery.timing.staged()
        young = []
        for delivery in deliveries:
            for copy in delivery.undecided:
                if copy.is_hosted:
                    self.guard(
                        delivery.id, copy, Copy.sync
                    )  # begun before this round, and copied from until now
                else:
                    young.append(copy)
        errors = sync.files([copy.staged for copy in young if copy.staged is not None])
        for copy in young if errors else ():
            if copy.staged in errors:
                copy.outcome = deferred_by(errors[copy.staged])
        for delivery in deliveries:
            if delivery.has_aliases:
                self.share_fate(delivery.copies)
            delivery.timing.synced()

    # -- steps 3 to 5

    def _commit(self, deliveries: Sequence[Delivery], sync: RoundSync) -> None:
        """Record, ask each client a last time, and rename; nothing of this is visible before the rename."""
        staged = [
            copy
            for delivery in deliveries
            for copy in delivery.undecided
            if copy.staged is not None and not copy.recorded
        ]
        if self._intents is not None and staged:
            self._intents.record(staged)
        published: list[Copy] = []
        for delivery in deliveries:
            if delivery.has_aliases:
                self.share_fate(delivery.copies)
            delivery.timing.recorded()
            published += self._publish(delivery)
        self._settle(published, sync)
        if self._announcer is not None:
            self._announcer.tell(copy for delivery in deliveries for copy in delivery.copies)

    def _publish(self, delivery: Delivery) -> list[Copy]:
        """Publish what is staged and recorded, if the client still wants it; return what is published."""
        ready = [copy for copy in delivery.undecided if copy.staged is not None and not _waits(copy)]
        if ready and (abort := delivery.barrier()) is not None:
            self._abandon(ready, abort)
            return []
        for copy in ready:
            self.guard(delivery.id, copy, partial(publish, intents=self._intents))
        return [copy for copy in ready if copy.outcome is None]

    def _abandon(self, copies: Sequence[Copy], abort: Deferred) -> None:
        for copy in copies:
            copy.outcome = abort
        self._withdraw(copies)

    def _withdraw(self, copies: Sequence[Copy]) -> None:
        """Nothing of these was published, and nothing will be."""
        for copy in copies:
            copy.discard()
        if self._intents is not None:
            self._intents.withdraw(copies)

    def _settle(self, published: Sequence[Copy], sync: RoundSync) -> None:
        """Sync every new/ once, and with that the copies are delivered.

        A failure may leave a file visible: 451, and its record recognises the retry.
        """
        maildirs = [copy.maildir for copy in published if copy.maildir is not None]
        errors = sync.directories(maildirs)
        for copy in published:
            error = errors.get(copy.maildir) if copy.maildir is not None else None
            copy.outcome = Delivered(copy.file) if error is None else deferred_by(error)


def _waits(copy: Copy) -> bool:
    return copy.waits or any(sibling.waits for sibling in copy.siblings)


def _begin_round(deliveries: Iterable[Delivery]) -> RoundSync:
    for delivery in deliveries:
        for copy in delivery.copies:
            if copy.maildir is not None:
                return copy.maildir.begin_round()
    return NOTHING_TO_SYNC
