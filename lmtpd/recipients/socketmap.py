"""The source `socketmap`: the protocol of sendmail and Postfix, socketmap_table(5), and what answers mean.

A question is a netstring "MAP KEY", the answer one of "OK DATA", "NOTFOUND ", "TEMP WHY", "TIMEOUT WHY" and
"PERM WHY". The last three are no answer: whoever is asked for is not unknown by them.
"""

import socket
import time
from collections.abc import Iterator

from lmtpd.recipients.entry import Entry
from lmtpd.recipients.lookup import AskAgain, CannotList, LookupFailed, Question, SourceDown, SourceFaulty
from lmtpd.recipients.pool import ConnectionLost, Pool
from lmtpd.recipients.table_keys import Result, entry_of_result, keys_of

REPLY_OCTETS = 100_000  # as Postfix (SOCKMAP_MAX_REPLY)
_LENGTH_DIGITS = 9


class SocketmapLookup:
    """Asks a socketmap server over connections that are kept. Thread-safe."""

    asks_for_detail = True

    def __init__(
        self, address: str | tuple[str, int], table: str, *, result: Result, timeout_s: float
    ) -> None:
        """address: a unix socket's path, or host and port."""
        where = address if isinstance(address, str) else f"{address[0]}:{address[1]}"
        self.name = f"socketmap {where}:{table}"
        self._address = address
        self._table = table
        self._result = result
        self._timeout_s = timeout_s
        self._pool: Pool[_Connection] = Pool(self._connect, lambda connection: connection.close())

    def find(self, question: Question) -> Entry | None:
        """Ask for the keys in their order. SourceDown, LookupFailed, EntryError."""
        for key in keys_of(question):
            if (value := self._value(key)) is not None:
                return entry_of_result(value, self._result)
        return None

    def users(self) -> Iterator[str]:
        """Yield nobody: the protocol has no such question. CannotList."""
        raise CannotList("the protocol has no question for everybody")

    def close(self) -> None:
        """Close idle connections."""
        self._pool.close()

    def _value(self, key: str) -> str | None:
        request = f"{self._table} {key}".encode()
        try:
            answer = self._pool.use(lambda connection: connection.ask(request))
        except (OSError, ConnectionLost) as exc:
            raise SourceDown(str(exc) or type(exc).__name__) from exc
        text = answer.decode("utf-8", "replace")
        status, _, data = text.partition(" ")
        match status:
            case "OK":
                return data
            case "NOTFOUND":
                return None
            case "TEMP" | "TIMEOUT":
                raise AskAgain(f"the server says {text[:200]!r}")
            case "PERM":
                raise LookupFailed(f"the server says {text[:200]!r}")
            case _:
                raise SourceFaulty(f"not a socketmap answer: {text[:80]!r}")

    def _connect(self) -> "_Connection":
        return _Connection(self._address, self._timeout_s)


class _Connection:
    """One stream; a question and its answer at a time, each within the timeout."""

    def __init__(self, address: str | tuple[str, int], timeout_s: float) -> None:
        self._timeout_s = timeout_s
        if isinstance(address, str):
            self._socket = socket.socket(socket.AF_UNIX)
            try:
                self._socket.settimeout(timeout_s)
                self._socket.connect(address)
            except BaseException:
                self._socket.close()
                raise
        else:
            self._socket = socket.create_connection(address, timeout=timeout_s)

    def ask(self, request: bytes) -> bytes:
        """Send a netstring, read one. ConnectionLost: closed or reset; OSError, SourceDown."""
        deadline = time.monotonic() + self._timeout_s
        try:
            self._socket.settimeout(self._timeout_s)
            self._socket.sendall(b"%d:%b," % (len(request), request))
            return self._read(deadline)
        except TimeoutError as exc:
            raise SourceDown(f"no answer within {self._timeout_s:g} s") from exc
        except (ConnectionError, BrokenPipeError) as exc:
            raise ConnectionLost(str(exc)) from exc

    def close(self) -> None:
        """Close the stream."""
        self._socket.close()

    def _read(self, deadline: float) -> bytes:
        received = b""
        while True:
            head, colon, rest = received.partition(b":")
            if (colon and not head.isdigit()) or (not colon and len(head) > _LENGTH_DIGITS):
                raise SourceDown(f"not a netstring: {received[:40]!r}")
            if colon:
                octets = int(head)
                if octets > REPLY_OCTETS:
                    raise SourceDown(f"an answer of {octets} octets: more than {REPLY_OCTETS}")
                if len(rest) > octets:
                    if rest[octets:] != b",":
                        raise SourceDown(f"not a netstring: {rest[octets:][:40]!r} behind it")
                    return rest[:octets]
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise TimeoutError
            self._socket.settimeout(left_s)
            data = self._socket.recv(65536)
            if not data:
                raise ConnectionLost("the server closed the connection")
            received += data
