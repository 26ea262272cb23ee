"""The socket seam: everything the server does to a connected socket is here, and nothing here knows LMTP.

The rule: a client that talks costs one recv(2) for each thing it says. The socket is blocking, with
SO_RCVTIMEO (settimeout() would make Python call poll(2) before every recv(2)); only a client that is
silent for QUICK_S is waited for with poll(2), together with the descriptor that announces the drain.
What can be seen of a peer, on TCP, on unix sockets and under TLS, is a table in the tests of this module.
"""

import fcntl
import select
import socket
import ssl
import struct
import termios
import time
from contextlib import suppress
from typing import NamedTuple

from lmtpd.server.drain import Drain
from lmtpd.server.pace import Pace

QUICK_S = 0.5  # how long a thread may sleep in recv(2) without hearing of a drain
HANDSHAKE_S = 30.0
CLOSE_NOTIFY_S = 1.0  # for a TLS client to end first
READ_OCTETS = 65536

_GONE_UNIX = select.POLLHUP | select.POLLERR | select.POLLNVAL
_GONE_TCP = _GONE_UNIX | select.POLLRDHUP
_PEER_ENDED = _GONE_TCP


class StreamError(Exception):
    """Nothing more can be said to this peer."""


class PeerLost(StreamError):
    """The connection was reset, or what came over it was not TLS."""


class PeerSilent(StreamError):
    """Nothing, or too little, came in time."""


class PeerDeaf(StreamError):
    """What we sent was not taken in time."""


class Sight(NamedTuple):
    """What poll(2) tells about a peer at one moment."""

    readable: bool  # bytes, or the end, can be read without waiting
    ended: bool  # the peer's end has arrived, perhaps behind bytes that are still unread
    gone: bool  # it cannot read a reply any more, or (TCP) cannot be told from one that cannot


NOTHING = Sight(readable=False, ended=False, gone=False)


class Stream:
    """A connected socket. Confined to one thread, which closes it."""

    __slots__ = ("_drain", "_gone", "_idle_s", "_pace", "_poll", "_sock", "ended", "is_tls")

    def __init__(
        self, sock: socket.socket, *, drain: Drain, idle_s: float, min_octets_per_s: float = 0
    ) -> None:
        self._sock = sock
        self._pace = Pace(min_octets_per_s, idle_s) if min_octets_per_s else None
        self._drain = drain
        self._idle_s = idle_s
        self._gone = _GONE_UNIX if sock.family == socket.AF_UNIX else _GONE_TCP
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN | select.POLLRDHUP)
        self.is_tls = False
        self.ended = False  # the peer's end has been read, or seen to be there
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(min(QUICK_S, idle_s)))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(idle_s))

    @property
    def is_gone_for_good(self) -> bool:
        """Whether the end of the peer's stream means that it reads nothing either.

        A client of a unix socket that shut down only its sending side can be told from one that closed,
        and is served; on TCP, and behind the end of a TLS stream, the two look the same.
        """
        return self.ended and (self.is_tls or self._gone is _GONE_TCP)

    def fileno(self) -> int:
        """The descriptor, for who waits for it."""
        return self._sock.fileno()

    def receive(self, octets: int, *, goes_on: bool = False) -> bytes | None:
        """Wait for bytes; b"" is the peer's end, None that it is silent for a moment while we drain.

        goes_on: what it has begun is not complete. Raises PeerSilent after the idle limit, or when that comes
        too slowly; PeerLost.
        """
        self.keep_up(goes_on=goes_on)
        deadline = 0.0
        while True:
            try:
                data = self._sock.recv(octets)
            except (BlockingIOError, ssl.SSLWantReadError):
                deadline = deadline or time.monotonic() + self._idle_s
                if not self._wait_for_input(deadline):
                    return None
            except OSError as exc:
                self.ended = True
                raise PeerLost(str(exc)) from exc
            else:
                if not data:
                    self.ended = True
                elif self._pace is not None:
                    self._pace.add(len(data))
                return data

    def keep_up(self, *, goes_on: bool) -> None:
        """Raise PeerSilent if what the client has begun, if it goes on, comes too slowly."""
        pace = self._pace
        if pace is None:
            return
        if not goes_on:
            pace.rest()
        elif why := pace.why_too_slow():
            raise PeerSilent(why)

    def receive_arrived(self, octets: int) -> bytes:
        """Return what is there, without waiting; b"" when nothing is, or the end (then `ended` is set)."""
        try:
            if self.is_tls:
                return self._receive_arrived_tls(octets)
            data = self._sock.recv(octets, socket.MSG_DONTWAIT)
        except (BlockingIOError, ssl.SSLWantReadError):
            return b""
        except OSError:
            data = b""
        if not data:
            self.ended = True
        elif self._pace is not None:
            self._pace.add(len(data))
        return data

    def look(self) -> Sight:
        """Ask poll(2) about the peer, without waiting.

        Not a peek: MSG_PEEK shows a pipelined QUIT and hides the end behind it, POLLRDHUP shows both.
        """
        ready = self._poll.poll(0)
        if not ready and not self.is_tls:
            return NOTHING
        events = ready[0][1] if ready else 0
        ended = bool(events & _PEER_ENDED)
        self.ended = self.ended or ended
        readable = bool(events) or (isinstance(self._sock, ssl.SSLSocket) and self._sock.pending() > 0)
        return Sight(readable=readable, ended=ended, gone=bool(events & self._gone))

    def send(self, data: bytes) -> None:
        """Send everything; raises PeerDeaf when it is not taken within the idle limit, PeerLost."""
        try:
            if self.is_tls:
                self._sock.settimeout(self._idle_s)
                self._sock.sendall(data)
                self._sock.settimeout(0)
            else:
                self._sock.sendall(data)
        except (BlockingIOError, TimeoutError) as exc:
            raise PeerDeaf("replies were not read in time") from exc
        except OSError as exc:
            raise PeerLost(str(exc)) from exc

    def send_at_once(self, data: bytes) -> bytes:
        """Send what the peer takes without our waiting, not behind TLS; return the rest. PeerLost."""
        try:
            return data[self._sock.send(data, socket.MSG_DONTWAIT) :]
        except BlockingIOError:
            return data
        except OSError as exc:
            raise PeerLost(str(exc)) from exc

    def start_tls(self, context: ssl.SSLContext) -> None:
        """Shake hands as the server, within HANDSHAKE_S; raises PeerLost."""
        self._sock.settimeout(HANDSHAKE_S)
        try:
            self._sock = context.wrap_socket(self._sock, server_side=True)
            # SSL_read loops over SO_RCVTIMEO for ever, so waiting is left to poll(2) altogether.
            self._sock.settimeout(0)
        except OSError as exc:
            raise PeerLost(f"TLS handshake: {exc}") from exc
        self.is_tls = True

    def end_orderly(self, wait_s: float) -> bool:
        """Shut down our side, wait for the peer's end; return whether it had received all we sent.

        A peer that closes with unread bytes shows as a reset. Over a network its end may also have been
        sent before our last bytes arrived; then they are not acknowledged. (Our own end, which counts as
        one, may be under way still.) Behind TLS the end of the TCP stream is enough: many clients leave
        without close_notify, and one who forges a FIN gains a second delivery attempt, nothing more.
        """
        deadline = time.monotonic() + wait_s
        try:
            if isinstance(self._sock, ssl.SSLSocket):
                # Postfix closes at 221 without another look: our close_notify, unread, would make that a
                # reset, and proofs impossible. So the client's end comes first; who waits for ours gets it.
                has_ended = self._wait_for_end(min(deadline, time.monotonic() + CLOSE_NOTIFY_S))
                has_all = has_ended and self._unacknowledged() == 0
                with suppress(ssl.SSLError, OSError):
                    self._sock.unwrap()  # sends close_notify, and does not wait for the peer's
                if has_ended:
                    return has_all
            self._sock.shutdown(socket.SHUT_WR)
            return self._wait_for_end(deadline) and self._unacknowledged() <= 1
        except OSError:
            return False

    def close(self) -> None:
        """Close the socket, now. Never raises."""
        with suppress(OSError):
            self._sock.close()

    def _wait_for_input(self, deadline: float) -> bool:
        """Sleep until there is input (True), or is none in a drain (False); PeerSilent at the deadline."""
        drain = self._drain
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        if drain.begun:
            return bool(poll.poll(QUICK_S * 1000))
        poll.register(drain.fd, select.POLLIN)
        ready = poll.poll(max(0.0, deadline - time.monotonic()) * 1000)
        if not ready:
            raise PeerSilent("no input in time")
        return any(fd != drain.fd for fd, _ in ready)

    def _wait_for_end(self, deadline: float) -> bool:
        """Read and forget, until the peer's end (True) or the deadline.

        TLS records stay undeciphered: at the end of the connection below, SSLSocket.recv() would send an
        alert, which nobody acknowledges.
        """
        while (rest_s := deadline - time.monotonic()) > 0:
            is_readable = bool(self._poll.poll(rest_s * 1000))
            if is_readable and not socket.socket.recv(self._sock, READ_OCTETS, socket.MSG_DONTWAIT):
                return True
        return False

    def _receive_arrived_tls(self, octets: int) -> bytes:
        """Read record by record: one recv() returns one, though more may have arrived."""
        data = b""
        with suppress(ssl.SSLWantReadError):
            while len(data) < octets:
                record = self._sock.recv(octets - len(data))
                if not record:
                    self.ended = True
                    break
                data += record
        return data

    def _unacknowledged(self) -> int:
        if self._sock.family == socket.AF_UNIX:
            return 0  # no network in between: a reset would have shown
        answer = fcntl.ioctl(self._sock, termios.TIOCOUTQ, b"\0\0\0\0")  # SIOCOUTQ, tcp(7)
        return int(struct.unpack("i", answer)[0])


def _timeval(seconds: float) -> bytes:
    """Encode a struct timeval; zero would mean no limit at all."""
    microseconds = max(1, int(seconds * 1_000_000))
    return struct.pack("ll", *divmod(microseconds, 1_000_000))
