"""A client that behaves as Postfix's lmtp(8) and keeps the account.

MAIL, RCPT and DATA leave in one group; the end of the message leaves together with QUIT, or alone when the
connection is cached. What was not answered, or answered 4xx, is sent again; what was answered 2xx never is.
"""

import time
from collections.abc import Iterable
from enum import Enum

from tests.crash.account import Account, Attempt, Sent
from tests.support.lmtp_client import ConnectionEnded, LmtpClient, ProtocolError, Reply, stuffed

RETRIES = 200
PAUSE_S = 0.01  # between attempts that are answered 4xx; Postfix waits 300 s


class Behind(Enum):
    """What the client does behind the end of the message."""

    QUIT = "sends QUIT with it and reads the replies, as Postfix does"
    NOTHING = "reads the replies and keeps the connection"
    RSET = "sends RSET with it and reads the replies"
    LOSES_REPLIES = "waits until a reply is there, and goes without reading it"
    QUIT_LOSES_REPLIES = "sends QUIT with it, waits until a reply is there, and goes without reading it"
    CLOSE = "closes at once"
    QUIT_CLOSE = "sends QUIT with it and closes at once"


_LOSING = frozenset({Behind.LOSES_REPLIES, Behind.QUIT_LOSES_REPLIES})
_LEAVING = frozenset({Behind.CLOSE, Behind.QUIT_CLOSE})
_LAST_WORDS = {
    Behind.QUIT: b"QUIT\r\n",
    Behind.QUIT_LOSES_REPLIES: b"QUIT\r\n",
    Behind.QUIT_CLOSE: b"QUIT\r\n",
    Behind.RSET: b"RSET\r\n",
}


class Client:
    """One connection at a time to `address`. Losing the server is no error: it is noted in the account."""

    def __init__(self, address: str, *, timeout_s: float = 15.0) -> None:
        self.address = address
        self.timeout_s = timeout_s
        self._connection: LmtpClient | None = None
        self._unproven: list[Attempt] = []

    # ---- one attempt ----------------------------------------------------------------------------

    def connect(self) -> bool:
        """Open a connection, unless one is open, and say LHLO; False when there is no server."""
        if self._connection is not None:
            return True
        try:
            self._connection = LmtpClient.connect(self.address, timeout_s=self.timeout_s)
            self._greet(self._connection)
        except (OSError, ProtocolError):
            self.drop()
            return False
        return True

    def send(self, sent: Sent, behind: Behind = Behind.QUIT, *, chunk_octets: int | None = None) -> Attempt:
        """Make one attempt for everybody who still has to get the message; it ends as `behind` says.

        By DATA, or with `chunk_octets` by BDAT.
        """
        attempt = Attempt(sent.open_places)
        sent.attempts.append(attempt)
        if not self.connect():
            return attempt
        try:
            if self._offer(sent, attempt, chunk_octets):
                self._finish(sent, attempt, behind, chunk_octets)
        except TimeoutError:
            attempt.complaints.append(f"no reply within {self.timeout_s:g} s")
            self.drop()
        except (OSError, ConnectionEnded):
            self.drop()
        except ProtocolError as exc:
            attempt.complaints.append(str(exc))
            self.drop()
        return attempt

    def _offer(self, sent: Sent, attempt: Attempt, chunk_octets: int | None) -> bool:
        """Send the group up to DATA; True if the message may follow."""
        connection = self._open
        size = f" SIZE={len(sent.message)}" if "SIZE" in connection.capabilities else ""
        commands = [f"MAIL FROM:<{sent.sender}>{size}"]
        commands += [f"RCPT TO:<{sent.recipients[place]}>" for place in attempt.places]
        if chunk_octets is None:
            commands.append("DATA")
        connection.send("".join(f"{command}\r\n" for command in commands).encode())
        accepts = connection.reply().code == 250
        self._prove()  # a reply to a later command: the earlier ones were read before it was sent
        for place in attempt.places:
            code = connection.reply().code
            attempt.replies[place] = None if code == 250 else code
            accepts = accepts or code == 250
        accepted = [place for place in attempt.places if attempt.replies[place] is None]
        if chunk_octets is not None:
            return bool(accepted)
        reply = connection.reply()
        if reply.code == 354:
            if not accepted:
                attempt.complaints.append("354 without a recipient")
            return True
        for place in accepted:
            attempt.replies[place] = reply.code
        return False

    def _finish(self, sent: Sent, attempt: Attempt, behind: Behind, chunk_octets: int | None) -> None:
        """Send the message and its end, and do as `behind` says."""
        connection = self._open
        last_words = _LAST_WORDS.get(behind, b"")
        attempt.completed = True  # from the first octet on we cannot know what arrived before a fault
        if chunk_octets is None:
            connection.send(stuffed(sent.message) + b".\r\n" + last_words)
        else:
            self._send_chunks(sent.message, chunk_octets, last_words)
        if behind in _LEAVING:
            attempt.abandoned = True
            self.drop()
            return
        if behind in _LOSING:
            self._wait_for_reply()
            self.drop()
            return
        self._read_final_replies(sent, attempt)
        self._unproven.append(attempt)
        if behind is Behind.QUIT:
            self._end(attempt)
        elif behind is Behind.RSET and connection.reply().code != 250:
            attempt.complaints.append("RSET was not answered 250")

    def _send_chunks(self, message: bytes, chunk_octets: int, last_words: bytes) -> None:
        connection = self._open
        chunks = [message[at : at + chunk_octets] for at in range(0, len(message), chunk_octets)] or [b""]
        for chunk in chunks[:-1]:
            connection.send(b"BDAT %d\r\n" % len(chunk) + chunk)
            reply = connection.reply()
            if reply.code != 250:
                raise ProtocolError(f"BDAT was answered {reply.code}")
        connection.send(b"BDAT %d LAST\r\n" % len(chunks[-1]) + chunks[-1] + last_words)

    def _greet(self, connection: LmtpClient) -> None:
        connection.greet("postfix.example.org")

    def _read_final_replies(self, sent: Sent, attempt: Attempt) -> None:
        """Read one reply for each accepted recipient, in order."""
        for place in attempt.places:
            if attempt.replies[place] is None:
                attempt.replies[place] = self._final_reply(sent.recipients[place], attempt)

    def _final_reply(self, recipient: str, attempt: Attempt) -> int | None:
        reply = self._open.reply()
        if reply.code // 100 not in {4, 5} and reply.code != 250:
            attempt.complaints.append(f"{reply.code} {reply.text} is no reply for {recipient}")
            return None
        if reply.code == 250 and "<" in reply.text and not _names(reply, recipient):
            attempt.complaints.append(f"the reply for {recipient} is {reply.text}")
        return reply.code

    def _wait_for_reply(self) -> None:
        """Return when the first octet of a reply has arrived, or the end."""
        connection = self._open
        connection.socket.recv(1)

    # ---- the connection -------------------------------------------------------------------------

    def quit(self) -> None:
        """End the connection in order, unless it is gone."""
        if self._connection is None:
            return
        try:
            self._connection.send(b"QUIT\r\n")
            self._end(None)
        except (OSError, ProtocolError):
            self.drop()

    def drop(self) -> None:
        """Close without a word."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._unproven.clear()

    def _end(self, attempt: Attempt | None) -> None:
        """Read the 221 and the end behind it."""
        connection = self._open
        reply = connection.reply()
        rest = connection.rest()
        if attempt is not None and (reply.code != 221 or rest):
            attempt.complaints.append(f"behind the replies: {reply.code}, then {rest!r}")
        self._prove()
        self.drop()

    def _prove(self) -> None:
        for attempt in self._unproven:
            attempt.confirmed = True
        self._unproven.clear()

    @property
    def _open(self) -> LmtpClient:
        assert self._connection is not None
        return self._connection


def settle(client: Client, account: Account, messages: Iterable[Sent] | None = None) -> None:
    """Send again whatever has to be sent again, as Postfix would, until all is answered for good."""
    for sent in account.open if messages is None else messages:
        for attempt in range(RETRIES):
            if attempt:
                time.sleep(PAUSE_S)
            if not _wanted(sent):
                break
            if client.send(sent).complaints:
                break


def _wanted(sent: Sent) -> bool:
    """Tell whether trying again makes sense: not for recipients that cannot be delivered to."""
    return any(sent.recipients[place] not in sent.doomed for place in sent.open_places)


def _names(reply: Reply, recipient: str) -> bool:
    return f"<{recipient.lower()}>" in reply.text.lower()
