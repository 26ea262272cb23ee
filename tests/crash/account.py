"""The client's account: what it sent to whom, what it was answered, and what it has to send again.

The account is kept outside the server and outside every file system that is cut. The oracle holds the
Maildirs against it.
"""

import hashlib
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tests.support.maildirs import on_disk

MARKER = b"X-Crash-Id: "


@dataclass(slots=True)
class Attempt:
    """One transaction. `places` are the recipients it was for, by their places in Sent.recipients."""

    places: tuple[int, ...]
    replies: dict[int, int | None] = field(default_factory=dict)
    """The code of each place's final reply; None where none came."""
    completed: bool = False
    """The end of the message was sent: from here on the server may store it."""
    confirmed: bool = False
    """The server was shown that the replies were read: by a later command, or by an orderly end."""
    abandoned: bool = False
    """The client went behind the end of the message, without waiting for a reply."""
    complaints: list[str] = field(default_factory=list)
    """What no LMTP server may say."""


@dataclass(slots=True)
class Sent:
    """One message and its fate so far."""

    id: str
    sender: str
    recipients: tuple[str, ...]
    message: bytes
    """As it goes over the wire, but for dot-stuffing; empty once `forget` was called."""
    sha256: str
    """Of the message as it must lie on disk, behind the header that is put on top."""
    disk_octets: int
    """The message's size on disk, without that header."""
    wire_sha256: bytes
    """Of the message as it goes over the wire."""
    doomed: frozenset[str] = frozenset()
    """Recipients that cannot be delivered to, whatever happens."""
    attempts: list[Attempt] = field(default_factory=list)
    disturbed: bool = False
    """The server crashed after an attempt: even a confirmed delivery's record may still be there."""

    def replies_to(self, place: int) -> list[int | None]:
        """Return what was answered for a recipient, attempt by attempt."""
        return [attempt.replies.get(place) for attempt in self.attempts if place in attempt.places]

    def is_open(self, place: int) -> bool:
        """Tell whether a client has to try again: no reply, or a temporary one, and never a final one."""
        return not any(code is not None and code // 100 in {2, 5} for code in self.replies_to(place))

    @property
    def open_places(self) -> tuple[int, ...]:
        """The recipients for which a client has to try again."""
        return tuple(place for place in range(len(self.recipients)) if self.is_open(place))

    def forget(self) -> None:
        """Let go of the octets: a long run could not keep those of all messages."""
        self.message = b""


class Account:
    """All messages of one test, in the order in which they were composed."""

    def __init__(self, seed: int = 1) -> None:
        self.sent: list[Sent] = []
        self._random = random.Random(seed)

    def compose(
        self,
        *recipients: str,
        octets: int = 600,
        sender: str = "sender@example.org",
        doomed: Iterable[str] = (),
        like: Sent | None = None,
    ) -> Sent:
        """Write a message of that size on the wire (0: an empty one; `like`: the same octets again)."""
        number = f"m{len(self.sent)}"
        message = like.message if like else self._message(number, octets)
        stored = on_disk(message)
        sent = Sent(
            id=number,
            sender=sender,
            recipients=recipients,
            message=message,
            sha256=hashlib.sha256(stored).hexdigest(),
            disk_octets=len(stored),
            wire_sha256=hashlib.sha256(message).digest(),
            doomed=frozenset(doomed),
        )
        self.sent.append(sent)
        return sent

    def crashed(self) -> None:
        """Note that the server died: nothing that it kept in memory counts any more."""
        for sent in self.sent:
            if sent.attempts:
                sent.disturbed = True

    @property
    def open(self) -> Sequence[Sent]:
        """The messages that the client has to send again."""
        return [sent for sent in self.sent if sent.open_places]

    def _message(self, number: str, octets: int) -> bytes:
        if not octets:
            return b""
        # On top the line that a Postfix writes: time and queue id make two submissions of one mail differ.
        header = (
            f"Received: from client.example.org (client.example.org [192.0.2.1])\r\n"
            f"\tby mx.example.org (Postfix) with ESMTP id {self._random.getrandbits(40):010X}\r\n"
            f"\tfor <somebody@example.org>; Mon, 24 Nov 2025 05:20:00 +0000 (UTC)\r\n"
            f"{MARKER.decode()}{number}\r\n"
            f"From: <sender@example.org>\r\nDate: Mon, 24 Nov 2025 05:20:00 +0000\r\nSubject: {number}\r\n"
            f"Message-ID: <{number}.{self._random.getrandbits(40):x}@example.org>\r\n\r\n"
        ).encode()
        lines = b"".join(
            b".%s\r\n" % self._random.randbytes(35).hex().encode()
            for _ in range((octets - len(header)) // 73)
        )
        rest = octets - len(header) - len(lines) - 2
        return header + lines + b"x" * rest + b"\r\n" if rest >= 0 else header + lines
