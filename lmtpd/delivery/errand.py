"""A message of our own, put into one of our mailboxes through the same seven steps as every other."""

from collections.abc import Callable
from dataclasses import replace

from lmtpd.delivery.barrier import Verdict
from lmtpd.delivery.peer import Peer
from lmtpd.delivery.service import Commit, Service
from lmtpd.delivery.transaction import Transaction
from lmtpd.protocol import replies
from lmtpd.protocol.addresses import Address
from lmtpd.protocol.events import NO_PARAMETERS, NOT_FORWARDED, Envelope, RecipientOffered
from lmtpd.protocol.replies import Reply


class _Nobody:
    """There is no client who could go away."""

    def verdict(self) -> Verdict | None:
        return None


def deliver_own(
    service: Service, recipient: Address, message: bytes, *, delivered: Callable[[], None]
) -> Reply:
    """Deliver message, with CRLF, from the null sender; no quota holds it up.

    delivered is called when it is in the mailbox, and may raise: then the message stays on record, and is
    recognised when it comes again.
    """
    # Who waits for QUIT here would wait for ever.
    quotas = service.quotas.unenforced() if service.quotas is not None else None
    service = replace(service, commit=Commit.IMMEDIATE, quotas=quotas, admission=None)
    envelope = Envelope(
        sender=None,
        sender_path=b"",
        size=len(message),
        body="8BITMIME",
        smtputf8=not str(recipient).isascii(),
        helo=service.hostname,
        tls=False,
        forwarded=NOT_FORWARDED,
        parameters=NO_PARAMETERS,
    )
    transaction = Transaction(service, Peer("own"), envelope)
    try:
        reply = transaction.offer(RecipientOffered(recipient, str(recipient).encode(), NO_PARAMETERS))
        if not reply.accepted:
            return reply
        reply = transaction.open_body()
        if reply is not replies.START_DATA:
            return reply
        transaction.write(message)
        (reply,) = transaction.deliver(_Nobody(), None)
        if reply.accepted:
            delivered()
            transaction.confirm()
        return reply
    finally:
        transaction.release()
        transaction.drop()
