"""The last look at a client before its mail is published, and before its last reply leaves."""

from lmtpd.delivery.barrier import Verdict
from lmtpd.delivery.service import Commit
from lmtpd.protocol.session import Session
from lmtpd.server.stream import Stream

AHEAD_OCTETS = 64 * 1024  # of what a client pipelined behind the end of the message


class Barrier:
    """One client, looked at. By whoever delivers its mail, while its talk waits for that."""

    def __init__(self, stream: Stream, session: Session, commit: Commit) -> None:
        self._stream = stream
        self._session = session
        self._commit = commit

    def verdict(self) -> Verdict | None:
        """Tell, without waiting, why the client's mail must not be published."""
        commit = self._commit
        if commit is Commit.IMMEDIATE:
            return None
        stream = self._stream
        if stream.look().gone:
            return Verdict.GONE
        if commit is Commit.CANCEL or stream.is_tls:
            # Behind TLS poll(2) does not see the end, only reading does.
            self.take_arrived()
            if stream.is_gone_for_good:
                return Verdict.GONE
        if commit is Commit.CANCEL and self._session.cancels():
            return Verdict.CANCELLED
        return None

    def take_arrived(self) -> bool:
        """Take in what has come, without waiting; return whether that was all."""
        data = self._stream.receive_arrived(AHEAD_OCTETS)
        if data:
            self._session.receive(data)
        return len(data) < AHEAD_OCTETS
