"""A message from a pipe or a file, as it would come over the wire."""

from collections.abc import Iterator
from typing import BinaryIO

CHUNK_OCTETS = 65536
_MBOX_LINE = b"From "


def wire_chunks(stream: BinaryIO) -> Iterator[bytes]:
    """Yield the message with CRLF line ends, without a "From " line on top.  Bare CRs stay."""
    held = _first_chunk(stream)
    while held:
        following = stream.read(CHUNK_OCTETS)
        # A CR at the end waits for the LF that may come with the next chunk.
        cut = len(held) - (held.endswith(b"\r") and bool(following))
        yield held[:cut].replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        held = held[cut:] + following


def _first_chunk(stream: BinaryIO) -> bytes:
    """Read until it shows whether there is a "From " line, and what comes behind it."""
    data = stream.read(CHUNK_OCTETS)
    if not data.startswith(_MBOX_LINE):
        return data
    # No line of an mbox is that long; but whoever wrote it, the message begins behind its end.
    while b"\n" not in data and (more := stream.read(CHUNK_OCTETS)):
        data = more if b"\n" in more else b""
    behind = data.partition(b"\n")[2]
    return behind or stream.read(CHUNK_OCTETS)
