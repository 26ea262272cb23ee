"""Step 3: one durable record for all recipients, and the recognition of a retry.

A record is durable before its file is renamed, and names the final file. So a retry after a crash at
any point finds one of four: no record -> deliver; record and file -> it was stored, answer 250;
record without file -> deliver under that record; record in flight elsewhere -> 451.
"""

import time
from collections.abc import Sequence

from lmtpd.delivery.copy import Copy
from lmtpd.delivery.outcomes import Cause, Deferred, Delivered, deferred_by
from storage.errors import MailboxMissing, StorageError
from storage.ledger import InFlight, Known, Ledger, LedgerError, New, Record
from storage.maildir import MaildirPath
from storage.maildirs import Maildirs

# How long a copy waits for the same key in another connection to be settled. That connection is
# nearly always one whose client has just closed it, so this is milliseconds; then 451.
IN_FLIGHT_WAIT_S = 2.0
_IN_FLIGHT_PAUSE_S = 0.02


class Intents:
    """Records what is about to be published. One per worker, safe for all its threads."""

    def __init__(self, ledger: Ledger, maildirs: Maildirs, *, deliver_without_ledger: bool) -> None:
        self._ledger = ledger
        self._maildirs = maildirs
        self._deliver_without_ledger = deliver_without_ledger

    def record(self, copies: Sequence[Copy]) -> None:
        """Record copies, all staged. On return each is recorded durably, or has an outcome.

        When the ledger fails, every copy is deferred (or, by setting, goes on without a record).
        """
        self._record(copies)
        if any(copy.unless_known is not None for copy in copies):
            self._refuse_unknown(copies)

    def _record(self, copies: Sequence[Copy]) -> None:
        try:
            waiting = self._intend(copies)
            give_up = time.monotonic() + IN_FLIGHT_WAIT_S if waiting else 0.0
            while waiting and time.monotonic() < give_up:
                time.sleep(_IN_FLIGHT_PAUSE_S)
                waiting = self._intend(waiting)
        except LedgerError as exc:
            if not self._deliver_without_ledger:
                for copy in copies:
                    if copy.outcome is None:
                        copy.outcome = Deferred(Cause.LEDGER, str(exc))
            return
        for copy in waiting:
            copy.outcome = Deferred(
                Cause.IN_FLIGHT, "the same message is being delivered by another connection"
            )

    def _refuse_unknown(self, copies: Sequence[Copy]) -> None:
        """Refuse what was recorded only to see whether it is the retry of a delivery, and is none."""
        withdrawn = []
        for copy in copies:
            if copy.unless_known is not None and copy.outcome is None:
                copy.outcome = copy.unless_known
                if copy.recorded:
                    copy.recorded = False
                    withdrawn.append(copy.key)
        if withdrawn:
            self._ledger.withdraw(withdrawn)

    def amend(self, copy: Copy) -> bool:
        """Let the record of copy, if it has one, name its new file, durably; False: copy has an outcome.

        The old record is then of no use, and goes as soon as the ledger can be written.
        """
        if copy.recorded:
            try:
                self._ledger.amend([copy.record()])
            except LedgerError as exc:
                copy.recorded = False
                self._ledger.withdraw([copy.key])
                copy.outcome = Deferred(Cause.LEDGER, str(exc))
        return copy.outcome is None

    def _intend(self, copies: Sequence[Copy]) -> list[Copy]:
        """Record what can be recorded; return the copies whose key is in flight elsewhere."""
        waiting = []
        amended = []
        for copy, finding in zip(
            copies, self._ledger.intend([copy.record() for copy in copies]), strict=True
        ):
            match finding:
                case New():
                    copy.recorded = True
                case Known(record):
                    copy.recorded = True
                    if not self._recognise(copy, record):
                        amended.append(copy)
                case InFlight():
                    waiting.append(copy)
        if amended:
            self._ledger.amend([copy.record() for copy in amended])
        return waiting

    def _recognise(self, copy: Copy, record: Record) -> bool:
        """Settle copy by an earlier attempt's record; False: nothing came of it, deliver under the record."""
        try:
            maildir = copy.maildir
            if maildir is None or maildir.path != record.maildir:
                # Delivered under other settings, or to a folder that the address named before.
                where = MaildirPath(record.maildir, (), copy.mailbox.maildir.rights)
                maildir = self._maildirs.open(where, create=False)
            if not maildir.holds(record.name):
                maildir.remove_tmp(record.tmp)
                return False
            # The attempt may have died between its rename and its sync.
            maildir.sync()
        except MailboxMissing:
            return False
        except StorageError as exc:
            copy.outcome = deferred_by(exc)
            return True
        copy.outcome = Delivered(record.name, recognised=True)
        return True
