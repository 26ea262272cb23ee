"""What Postfix asks before it takes a message: is there such a mailbox, and has it room?

Two protocols, each on sockets of its own, and one answer: that of RCPT. So a mailbox that is full or does not
exist is refused to the sender's server itself, and nobody has to write a bounce.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Protocol

from lmtpd.config import Config
from lmtpd.delivery.reception import Answer, answer_rcpt
from lmtpd.delivery.service import Service
from lmtpd.protocol import policy, replies, socketmap
from lmtpd.protocol.addresses import Address, AddressError, parse_path
from lmtpd.protocol.events import NO_PARAMETERS, RecipientOffered
from lmtpd.recipients.mailbox import Unavailable, Unknown
from lmtpd.report.records import Level, RecipientReport
from lmtpd.server.stream import Stream, StreamError

# Postfix ends a connection that it has not used for 300 s (smtpd_policy_service_max_idle); let it.
IDLE_S = 900.0
READ_OCTETS = 4096

MAILBOX = "mailbox"  # a socketmap of who exists, for virtual_mailbox_maps
ACCESS = "access"  # a socketmap of what RCPT is answered, for check_recipient_access


class Dialogue(Protocol):
    """One connection's questions and answers."""

    def answers(self, data: bytes) -> Iterator[bytes]:
        """Take what came, yield an answer to each question that is complete. ValueError ends it."""


class PolicyDialogue:
    """`check_policy_service`. Confined to one thread."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._reader = policy.PolicyReader()

    def answers(self, data: bytes) -> Iterator[bytes]:
        """Answer what names one recipient; to everything else there is nothing to say."""
        for request in self._reader.feed(data):
            recipient = request.get("recipient", "")
            if not recipient:
                yield policy.NOTHING_TO_SAY
                continue
            answer = _answer(self._service, recipient, policy.size_of(request))
            if answer.mailbox is None:
                self._report(request, answer)
            yield policy.action(answer.reply)

    def _report(self, request: policy.Request, answer: Answer) -> None:
        reply = answer.reply
        report = RecipientReport(
            at=time.time(),
            id=self._service.next_id(),
            recipient=request["recipient"],
            outcome="deferred" if reply.temporary else "refused",
            reply=f"{reply.code} {reply.status} {reply.lines[0]}",
            sender=request.get("sender", ""),
            queue_id=request.get("queue_id", ""),
            cause=answer.cause,
            detail=answer.detail,
            client="policy",
            helo=request.get("helo_name", ""),
        )
        if self._service.announcer is not None:
            self._service.announcer.refused([report])
        self._service.reporter.recipient(report)


class SocketmapDialogue:
    """Two maps, `mailbox` and `access`. Confined to one thread."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._reader = socketmap.SocketmapReader()

    def answers(self, data: bytes) -> Iterator[bytes]:
        """Answer each look-up. Postfix also asks for parts of an address, which are nobody's."""
        for name, key in self._reader.feed(data):
            if name not in (MAILBOX, ACCESS):
                yield socketmap.misused(f"the maps here are {MAILBOX} and {ACCESS}")
                continue
            local, at, domain = key.rpartition("@")
            if not (local and at and domain):
                yield socketmap.not_found()
            elif name == MAILBOX:
                yield self._who(key)
            else:
                reply = _answer(self._service, key, 0).reply
                text = f"{reply.code} {reply.status} {reply.lines[0]}"
                yield socketmap.not_found() if reply.accepted else socketmap.found(text)

    def _who(self, key: str) -> bytes:
        address = _address(key)
        match None if address is None else self._service.directory.find(address):
            case None | Unknown():
                return socketmap.not_found()
            case Unavailable():
                return socketmap.try_later(replies.LOOKUP_FAILED.lines[0])
            case mailbox:
                return socketmap.found(mailbox.address)


class Lookups:
    """One client that asks. Confined to one thread, which closes the stream."""

    def __init__(self, stream: Stream, dialogue: Dialogue, service: Service) -> None:
        self._stream = stream
        self._dialogue = dialogue
        self._service = service

    def serve(self) -> None:
        """Answer until the client leaves, or is silent while we drain."""
        with suppress(StreamError):
            while data := self._stream.receive(READ_OCTETS):
                if not self._take(data):
                    return

    def _take(self, data: bytes) -> bool:
        """Answer what is complete; False: what came cannot be understood."""
        try:
            for answer in self._dialogue.answers(data):
                self._stream.send(answer)
        except ValueError as exc:
            self._service.reporter.event(Level.WARNING, "question_not_understood", error=str(exc))
            return False
        return True


Ask = Callable[[Service], Dialogue]


def asked_on(config: Config) -> Mapping[object, Ask]:
    """Tell by a listener's configuration what is asked there; LMTP is spoken on the others."""
    return {
        **dict.fromkeys(config.policy, PolicyDialogue),
        **dict.fromkeys(config.socketmap, SocketmapDialogue),
    }


def _answer(service: Service, recipient: str, octets: int) -> Answer:
    address = _address(recipient)
    if address is None:
        return Answer(None, replies.MAILBOX_UNKNOWN, "unknown", "no mailbox can have this name")
    try:
        if service.admission is None:
            return answer_rcpt(service.directory, service.quotas, address, octets=octets)
        event = RecipientOffered(address, recipient.encode("utf-8", "surrogateescape"), NO_PARAMETERS)
        return service.admission.foresee(event, octets=octets)
    except Exception as exc:  # noqa: BLE001 a bug of ours: this sender tries again, the others are served
        service.reporter.bug(exc, recipient=recipient)
        return Answer(None, replies.LOCAL_ERROR, "bug", repr(exc))


def _address(recipient: str) -> Address | None:
    """Read an address as Postfix has it in its memory: nothing is quoted."""
    local, _, domain = recipient.rpartition("@")
    if not local:
        local, domain = domain, ""
    try:
        # As a quoted string any local part is well-formed.
        quoted = local.replace("\\", "\\\\").replace('"', '\\"')
        text = f'<"{quoted}"@{domain}>' if domain else f"<{local}>"
        address, _ = parse_path(text.encode("utf-8", "surrogateescape"), smtputf8=True)
    except AddressError:
        return None
    return address
