"""What a session must be told, and what follows from it for what it offers."""

from dataclasses import dataclass

from lmtpd.protocol import replies
from lmtpd.protocol.replies import Reply

# Known verbs that are never accepted.  HELO and EHLO must not get a 2xx (RFC 2033 4.1).
_REFUSED: dict[bytes, Reply] = {
    b"HELO": replies.SPEAK_LMTP,
    b"EHLO": replies.SPEAK_LMTP,
    b"EXPN": replies.NOT_IMPLEMENTED,
    b"AUTH": replies.NOT_IMPLEMENTED,
}


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """The limits and offers of a session."""

    hostname: str
    message_octets: int  # wire octets of the un-stuffed body
    recipients: int  # accepted ones, per transaction
    bad_commands: int = 10  # in a row; the next one ends the session (Dovecot 10, Postfix 20)
    command_octets: int = 4096  # of a line, its CRLF included (Dovecot, Cyrus)
    starttls: bool = False
    dsn: bool = False  # the "delivered" notices that are then ours are sent (RFC 3461)
    xforward: bool = False  # the peer is trusted to tell who its client is

    def hello(self, *, tls: bool) -> Reply:
        """Return the reply to LHLO."""
        return replies.hello(
            self.hostname,
            octets=self.message_octets,
            starttls=self.starttls and not tls,
            xforward=self.xforward,
            dsn=self.dsn,
        )

    def refused_verbs(self, *, tls: bool) -> dict[bytes, Reply]:
        """Return the verbs that are refused in every state, and how."""
        refused = dict(_REFUSED)
        if tls:
            refused[b"STARTTLS"] = replies.TLS_ACTIVE
        elif not self.starttls:
            refused[b"STARTTLS"] = replies.NOT_IMPLEMENTED
        if not self.xforward:
            refused[b"XFORWARD"] = replies.NOT_TRUSTED
        return refused
