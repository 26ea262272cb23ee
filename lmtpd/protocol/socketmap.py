"""The socketmap protocol (socketmap_table(5)): a netstring "NAME KEY" comes, a netstring with a result goes.

Pure. Netstrings: cr.yp.to/proto/netstrings.txt.
"""

from collections.abc import Iterator

# socketmap_table(5): Postfix takes replies up to 100,000 octets; its requests are a name and an address.
REQUEST_OCTETS = 64 * 1024
_LENGTH_DIGITS = len(str(REQUEST_OCTETS))


class SocketmapError(ValueError):
    """What came is no socketmap request."""


class SocketmapReader:
    """Cuts a stream into requests. Confined to one thread."""

    def __init__(self) -> None:
        self._held = b""

    def feed(self, data: bytes) -> Iterator[tuple[str, str]]:
        """Yield the map's name and the key of every complete request. SocketmapError: the stream is lost."""
        self._held += data
        while (request := self._next()) is not None:
            name, _, key = request.decode("utf-8", "surrogateescape").partition(" ")
            yield name, key

    def _next(self) -> bytes | None:
        digits, colon, rest = self._held.partition(b":")
        if not colon:
            if len(digits) > _LENGTH_DIGITS or (digits and not digits.isdigit()):
                raise SocketmapError(f"not a netstring: {digits[:80]!r}")
            return None
        if not digits.isdigit() or len(digits) > _LENGTH_DIGITS or int(digits) > REQUEST_OCTETS:
            raise SocketmapError(f"not a netstring of at most {REQUEST_OCTETS} octets: {digits[:80]!r}")
        octets = int(digits)
        if len(rest) <= octets:
            return None
        if rest[octets : octets + 1] != b",":
            raise SocketmapError("a netstring without its comma")
        self._held = rest[octets + 1 :]
        return rest[:octets]


def found(data: str) -> bytes:
    """Write the result for a key that is in the map."""
    return _netstring(f"OK {data}")


def not_found() -> bytes:
    """Write the result for a key that is not."""
    return _netstring("NOTFOUND ")


def try_later(reason: str) -> bytes:
    """Write that it cannot be told now."""
    return _netstring(f"TEMP {reason}")


def misused(reason: str) -> bytes:
    """Write that asking again will not help."""
    return _netstring(f"PERM {reason}")


def _netstring(text: str) -> bytes:
    octets = text.encode("utf-8", "surrogateescape")
    return b"%d:%b," % (len(octets), octets)
