"""Postfix's policy delegation protocol (SMTPD_POLICY_README): "name=value" lines, an empty one, an action.

Pure. Postfix asks while it talks to its client, one question after the other over one connection.
"""

from collections.abc import Iterator, Mapping

from lmtpd.protocol.replies import Reply

# Postfix's requests have some 1.5 KB; certificate names and addresses are bounded there.
REQUEST_OCTETS = 64 * 1024

Request = Mapping[str, str]


class PolicyError(ValueError):
    """What came is no policy request."""


class PolicyReader:
    """Cuts a stream into requests. Confined to one thread."""

    def __init__(self) -> None:
        self._held = b""

    def feed(self, data: bytes) -> Iterator[Request]:
        """Yield every request that is complete. PolicyError: the stream cannot be understood from here on."""
        self._held += data
        while (end := self._held.find(b"\n\n")) >= 0:
            request, self._held = self._held[:end], self._held[end + 2 :]
            yield _parse(request)
        if len(self._held) > REQUEST_OCTETS:
            raise PolicyError(f"a request of more than {REQUEST_OCTETS} octets")


def size_of(request: Request) -> int:
    """Return the size of the message as far as it is known: announced at RCPT, real at its end; else 0."""
    text = request.get("size", "")
    return int(text) if text.isascii() and text.isdigit() else 0


def action(reply: Reply) -> bytes:
    """Write the answer: DUNNO where we have nothing against it, so that Postfix's other rules decide."""
    if reply.accepted:
        return b"action=DUNNO\n\n"
    text = f"{reply.code} {reply.status} {reply.lines[0]}"
    return b"action=" + text.encode("ascii", "replace") + b"\n\n"


NOTHING_TO_SAY = b"action=DUNNO\n\n"


def _parse(request: bytes) -> Request:
    result = {}
    for line in request.split(b"\n"):
        name, equals, value = line.partition(b"=")
        if not equals or not name:
            raise PolicyError(f"not name=value: {line[:80]!r}")
        result[name.decode("utf-8", "replace")] = value.decode("utf-8", "surrogateescape")
    return result
