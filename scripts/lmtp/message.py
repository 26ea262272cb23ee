"""A message on its way to a server: CRLF line ends, dots doubled, and what the envelope must say of it."""

import re
import tempfile
from collections.abc import Iterator
from typing import BinaryIO, Self

from lmtpd.cli.stdin import CHUNK_OCTETS, wire_chunks

# In memory up to here, behind that in a file without a name.
MEMORY_OCTETS = 1 << 20
# Beyond this a header is not looked at: what only parameters of MAIL depend on need not be exact.
HEADER_OCTETS = 1 << 18

_NOT_ASCII = re.compile(rb"[\x80-\xff]")


class WireMessage:
    """One message as it goes over the wire but for the dots. Close it."""

    def __init__(self, stream: BinaryIO) -> None:
        """Read a message with LF or CRLF; a "From " line on top is dropped. OSError."""
        self._file = tempfile.SpooledTemporaryFile(MEMORY_OCTETS)  # noqa: SIM115 - close() does it
        self.octets = 0
        self.is_8bit = False
        self.has_utf8_header = False
        header, in_header = b"", True
        last = b""
        for chunk in wire_chunks(stream):
            self._append(chunk)
            last = chunk[-2:] if len(chunk) > 1 else (last + chunk)[-2:]
            if in_header:
                header += chunk
                in_header = b"\r\n\r\n" not in header and len(header) < HEADER_OCTETS
        if last != b"\r\n":
            self._append(b"\r\n")
        self.has_utf8_header = _is_utf8(header.partition(b"\r\n\r\n")[0])

    def _append(self, chunk: bytes) -> None:
        self._file.write(chunk)
        self.octets += len(chunk)
        self.is_8bit = self.is_8bit or _NOT_ASCII.search(chunk) is not None

    def data(self) -> Iterator[bytes]:
        """Yield what follows the 354, with the dot that ends it."""
        self._file.seek(0)
        at_line_start, held = True, b""
        while chunk := self._file.read(CHUNK_OCTETS):
            # A line starts behind CRLF only, and that may be cut by the chunk's end.
            held += chunk
            cut = len(held) - held.endswith(b"\r")
            piece, held = held[:cut], held[cut:]
            stuffed = piece.replace(b"\r\n.", b"\r\n..")
            yield b"." + stuffed if at_line_start and piece.startswith(b".") else stuffed
            at_line_start = piece.endswith(b"\r\n")
        yield held + b".\r\n"

    def close(self) -> None:
        """Forget it."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def _is_utf8(header: bytes) -> bool:
    """Tell whether a header holds characters beyond ASCII, well-formed (RFC 6532)."""
    try:
        return not header.decode("utf-8").isascii()
    except UnicodeDecodeError:
        return False
