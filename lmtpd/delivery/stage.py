"""Steps 1 and 2 for one copy: decide where it goes, and write it there, into tmp/.

Nothing is visible yet, and nothing synced: the transaction syncs when all copies are written.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from lmtpd.delivery.copy import Copy
from lmtpd.delivery.headers import Trace
from lmtpd.delivery.headings import Headings, SingleInstance
from lmtpd.delivery.message import Message, bare_lf_count
from lmtpd.delivery.outcomes import Cause, Refused
from lmtpd.delivery.service import Service
from lmtpd.delivery.spool import MailboxSpool
from lmtpd.protocol.events import Envelope
from storage.errors import MailboxMissing, StorageError
from storage.folders import create_folder, folder_parts
from storage.maildir import Maildir
from storage.names import with_sizes
from storage.quota import Full
from storage.staging import Staged
from storage.subscriptions import subscribe


class Stager:
    """Opens mailboxes and writes copies for one transaction. Raises StorageError: that copy's alone."""

    __slots__ = (
        "_apart",
        "_envelope",
        "_filter",
        "_headings",
        "_maildirs",
        "_originals",
        "_quotas",
        "_refuses_loops",
        "_single_instance",
        "filter_s",
    )

    def __init__(self, service: Service, envelope: Envelope, *, trace_of: Callable[[], Trace]) -> None:
        self._maildirs = service.maildirs
        self._filter = service.filter
        self._quotas = service.quotas
        self._apart = service.apart
        self._refuses_loops = service.refuses_loops
        self._single_instance = service.single_instance
        self._envelope = envelope
        self._headings = Headings(trace_of, binary=envelope.body == "BINARYMIME")
        # With `link`: whose file serves for equal copies, by what makes copies equal.
        self._originals: dict[tuple[object, bytes], Staged] = {}
        self.filter_s = 0.0  # what the decisions took

    def open(self, copy: Copy) -> None:
        """Open the Maildir that the address names, so that a mailbox in trouble is known before the body."""
        copy.maildir = self._open_folder(copy)

    def spool(self, copies: Sequence[Copy]) -> MailboxSpool:
        """See what opened copies will have in common, and give a place to their body."""
        if self._single_instance is not SingleInstance.OFF:
            self._headings.arrange(copies, self._single_instance)
        return MailboxSpool(copies, self.fields_of, apart=self._apart)

    def write(self, copy: Copy, *, message: Message, spool: MailboxSpool) -> None:
        """Decide, and write the copy into tmp/ of the folder that the plan names."""
        if self._refuses_loops and message.has_passed(copy.address):
            copy.outcome = Refused(Cause.LOOP, f"Delivered-To: {copy.address} is in its header already")
            return
        asked = time.monotonic()
        plan = self._filter.decide(message, copy.mailbox)
        self.filter_s += time.monotonic() - asked
        if plan.refusal is not None:
            copy.outcome = plan.refusal
            return
        hosted = copy is spool.host
        if copy.maildir is None or plan.folder != copy.mailbox.folder:
            copy.folder, hosted = plan.folder, False
            copy.maildir = self._open_folder(copy)
        fields = self.fields_of(copy)
        if self._quotas is not None and not self._reserve(copy, len(fields) + message.octets):
            return
        copy.is_hosted = hosted
        if hosted:
            copy.staged = spool.staged
        elif self._single_instance is not SingleInstance.LINK or not self._link(copy, fields):
            self._fill(copy, fields, message, spool)
        assert copy.staged is not None
        if self._single_instance is SingleInstance.LINK:
            self._originals.setdefault((copy.maildir.kin, fields), copy.staged)
        wire_octets = message.wire_octets + len(fields) + bare_lf_count(fields)
        copy.file = with_sizes(copy.staged.name, copy.staged.octets, wire_octets)
        copy.make_key(self._envelope.sender_path, message.digest)

    def _reserve(self, copy: Copy, octets: int) -> bool:
        """Make room in a mailbox that has a quota; False: there is none, and copy has its outcome.

        A message that is in the mailbox already needs no room: where that may be, the ledger is asked first.
        """
        assert self._quotas is not None
        try:
            copy.reservation = self._quotas.reserve(copy.mailbox, copy.folder, octets)
        except Full as full:
            refusal = self._quotas.when_full(copy.mailbox, full)
            if not self._quotas.may_come_again(copy.mailbox):
                copy.outcome = refusal
                return False
            copy.unless_known = refusal
        return True

    def fields_of(self, copy: Copy) -> bytes:
        """The fields on top of copy, with the line ends that the body has."""
        return self._headings.of(copy)

    def _link(self, copy: Copy, fields: bytes) -> bool:
        """Let copy share the file of an equal one; False: there is none, or it cannot."""
        assert copy.maildir is not None
        original = self._originals.get((copy.maildir.kin, fields))
        if original is not None:
            copy.staged = copy.maildir.stage_link(original)
        return copy.staged is not None

    def _fill(self, copy: Copy, fields: bytes, message: Message, spool: MailboxSpool) -> None:
        assert copy.maildir is not None
        copy.staged = staged = copy.maildir.stage()
        if message.data is not None:
            staged.write(fields + message.data)
        elif spool.staged is not None:
            staged.write(fields)
            staged.write_from(spool.staged, spool.body_offset, message.octets)
        else:
            raise StorageError("no recipient's mailbox could hold the message while it arrived")

    def _open_folder(self, copy: Copy) -> Maildir:
        """Open the Maildir of copy.folder. A folder that is missing and not to be made is the INBOX."""
        mailbox = copy.mailbox
        if copy.folder is None:
            return self._maildirs.open(mailbox.maildir, create=mailbox.create)
        parts = folder_parts(mailbox.layout, copy.folder, names=mailbox.names)
        try:
            return self._maildirs.open(mailbox.maildir.below(parts), create=False)
        except MailboxMissing:
            inbox = self._maildirs.open(mailbox.maildir, create=mailbox.create)
            if not mailbox.create_folder:
                copy.folder = None
                return inbox
        made = create_folder(
            self._maildirs, mailbox.maildir, mailbox.layout, folder=copy.folder, names=mailbox.names
        )
        if mailbox.subscribe:
            # The mail reader has the list locked, say: the folder is there all the same.
            with suppress(StorageError):
                subscribe(
                    self._maildirs.disk,
                    mailbox.maildir,
                    mailbox.layout,
                    folder=copy.folder,
                    names=mailbox.names,
                )
        return made
