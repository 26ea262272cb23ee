"""Lines to a descriptor: whole lines only, in as few writes as the kernel allows, never waiting for long."""

import os
import select
import stat
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress

# Several processes share the descriptor.  Into a pipe or a socket, more than this may be torn apart by the
# lines of another process (pipe(7)); a file or a terminal takes any amount in one piece.
PIPE_BUF = select.PIPE_BUF


class LineOutput:
    """Write lines to one descriptor, which stays its owner's.  Any thread may call."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)
        self._lock = threading.Lock()  # a poll object serves one thread at a time
        self._limit = PIPE_BUF if _is_shared_stream(fd) else 2**30

    def write(self, lines: Sequence[bytes], *, patience_s: float) -> int:
        """Write what the reader takes within patience_s; return how many lines were left unwritten.

        Never raises: where the log cannot be written, there is no place to complain.
        """
        left = len(lines)
        deadline = time.monotonic() + patience_s
        # EPIPE, ENOSPC, EIO: the lines stay unwritten, which the caller counts.
        with self._lock, suppress(OSError):
            for count, piece in _pieces(lines, self._limit):
                if not self._write_piece(piece, deadline):
                    break
                left -= count
        return left

    def _write_piece(self, piece: bytes, deadline: float) -> bool:
        rest = memoryview(piece)
        while rest:
            # A pipe that poll calls writable takes PIPE_BUF octets at once: the write does not block.
            wait_s = max(0.0, deadline - time.monotonic())
            if not self._poll.poll(wait_s * 1000):
                return False
            try:
                rest = rest[os.write(self._fd, rest) :]
            except BlockingIOError:
                # Somebody else made it non-blocking and filled it in between.
                if time.monotonic() >= deadline:
                    return False
        return True


def _is_shared_stream(fd: int) -> bool:
    try:
        mode = os.fstat(fd).st_mode
    except OSError:
        return False  # closed, as some starters leave standard error: every write will say so
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def _pieces(lines: Sequence[bytes], limit: int) -> Iterator[tuple[int, bytes]]:
    """Join lines to pieces of at most limit octets, or one longer line; yield (lines in it, piece)."""
    piece: list[bytes] = []
    octets = 0
    for line in lines:
        if piece and octets + len(line) > limit:
            yield len(piece), b"".join(piece)
            piece, octets = [], 0
        piece.append(line)
        octets += len(line)
    if piece:
        yield len(piece), b"".join(piece)
