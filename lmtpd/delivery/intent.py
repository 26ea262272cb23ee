"""Step 3: one durable record for all recipients, and the recognition of a retry.

A record is durable before its file is renamed, and names the final file. So a retry after a crash at
any point finds one of four: no record -> deliver; record and file -> it was stored, answer 250;
record without file -> deliver under that record; record in flight elsewhere -> 451.
"""

from collections.abc import Sequence

from lmtpd.delivery.copy import Copy
from lmtpd.delivery.outcomes import Cause, Deferred, Delivered, deferred_by
from storage.errors import MailboxMissing, StorageError
from storage.ledger import InFlight, Known, Ledger, LedgerError, New, Record
from storage.maildir import MaildirPath
from storage.maildirs import Maildirs


class Intents:
    """Records what is about to be published. One per worker, safe for all its threads."""

    def __init__(self, ledger: Ledger, maildirs: Maildirs, *, deliver_without_ledger: bool) -> None:
        self._ledger = ledger
        self._maildirs = maildirs
        self._deliver_without_ledger = deliver_without_ledger

    def record(self, copies: Sequence[Copy]) -> None:
        """Record copies, all staged. On return each is recorded durably, or has an outcome, or waits.

        It waits if the same message is being delivered by another connection: record it again later.
        When the ledger fails, every copy is deferred (or, by setting, goes on without a record).
        """
        self._record(copies)
        if any(copy.unless_known is not None for copy in copies):
            self._refuse_unknown(copies)

    def _record(self, copies: Sequence[Copy]) -> None:
        try:
            self._intend(copies)
        except LedgerError as exc:
            for copy in copies:
                copy.waits = False
                if copy.outcome is None and not self._deliver_without_ledger:
                    copy.outcome = Deferred(Cause.LEDGER, str(exc))

    def _refuse_unknown(self, copies: Sequence[Copy]) -> None:
        """Refuse what was recorded only to see whether it is the retry of a delivery, and is none."""
        withdrawn = []
        for copy in copies:
            if copy.unless_known is not None and copy.outcome is None and not copy.waits:
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

    def withdraw(self, copies: Sequence[Copy]) -> None:
        """Nothing of copies was published, and nothing will be: their records go."""
        recorded = [copy for copy in copies if copy.recorded]
        for copy in recorded:
            copy.recorded = False
        self._ledger.withdraw([copy.key for copy in recorded])

    def _intend(self, copies: Sequence[Copy]) -> None:
        amended = []
        findings = self._ledger.intend([copy.record() for copy in copies])
        for copy, finding in zip(copies, findings, strict=True):
            match finding:
                case New():
                    copy.waits, copy.recorded = False, True
                case Known(record):
                    copy.waits, copy.recorded = False, True
                    if not self._recognise(copy, record):
                        amended.append(copy)
                case InFlight():
                    copy.waits = True
        if amended:
            self._ledger.amend([copy.record() for copy in amended])

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
