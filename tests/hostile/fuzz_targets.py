"""What is fuzzed: each target plays one input, any octets, and asserts what must hold whatever they are.

fuzz.py runs them under Atheris; the suite plays some hundred inputs by Hypothesis as well.
"""

import os.path
import re
from collections.abc import Callable

from lmtpd.delivery import message
from lmtpd.delivery.headers import Trace, message_id_of, original_recipient, queue_id_of
from lmtpd.delivery.message import Incoming
from lmtpd.protocol.addresses import Address, AddressError, parse_path
from lmtpd.protocol.events import Closed, TlsRequested
from lmtpd.recipients.mailbox import Mailbox
from lmtpd.recipients.maildirs import Detail, MaildirRules, MaildirSource
from storage.disk import Disk
from storage.folders import Layout, folder_parts
from tests.lmtpd.protocol.driver import CLIENT, DATA, RECIPIENT, SENDER, Driver
from tests.support.maildirs import on_disk, wire_octets

REPLIES = re.compile(rb"(?:[2345][0-9]{2}[ -][\x20-\x7e]{0,506}\r\n)*")
# The first octet of an input says how far the dialogue has come.
BEGINNINGS = (b"", CLIENT, CLIENT + SENDER, CLIENT + SENDER + RECIPIENT, CLIENT + SENDER + RECIPIENT + DATA)
ROOT = "/nonexistent/mail"
SMALL_MEMORY_OCTETS = 16  # so that a short input is spooled as a large message is


# ---- the protocol -----------------------------------------------------------------------------------


def session(data: bytes) -> Driver:
    """Say it whole and octet by octet; both must be the same, and every reply well-formed."""
    wire = BEGINNINGS[data[0] % len(BEGINNINGS)] + data[1:] if data else b""
    whole, in_pieces = Driver(), Driver()
    whole.send(wire)
    in_pieces.send(*(wire[at : at + 1] for at in range(len(wire))))
    assert REPLIES.fullmatch(whole.output), whole.output
    assert REPLIES.fullmatch(in_pieces.output), in_pieces.output
    # What came together with STARTTLS is forgotten: it was sent in the clear.
    if not any(isinstance(event, TlsRequested) for event in whole.events):
        assert in_pieces.output == whole.output
        assert in_pieces.messages == whole.messages
    if not any(isinstance(event, Closed) for event in whole.events):
        # Whatever it is in the midst of, it comes to an end within a line, or two for a body.
        assert whole.session.owed == 0
    return whole


# ---- from an address to a place ---------------------------------------------------------------------


def address(data: bytes) -> None:
    """An address is read back from what is written of it, and leads to a child of its domain's directory."""
    try:
        parsed, end = parse_path(data, smtputf8=True)
    except AddressError:
        return
    assert data[end - 1 : end] == b">"
    if parsed is None:
        return
    written = f"<{parsed}>".encode()
    assert parse_path(written, smtputf8=True) == (parsed, len(written))
    for layout in Layout:
        _place(parsed, layout)


def _place(parsed: Address, layout: Layout) -> None:
    rules = MaildirRules(
        template=f"{ROOT}/{{domain}}/{{user}}",
        create=True,
        layout=layout,
        detail=Detail.CREATE,
        delimiters="+-",
        fold_case=True,
    )
    resolved = MaildirSource(Disk(), rules).find(parsed)
    if not isinstance(resolved, Mailbox):
        return
    parts = resolved.maildir.parts
    if resolved.folder is not None:
        parts += folder_parts(layout, resolved.folder)
    assert len(resolved.maildir.parts) == 2
    for part in parts:
        assert part not in {"", ".", ".."}, parts
        assert not set(part) & {"/", "\0", "\n", "\r"}, parts
        assert len(part.encode()) <= 255, parts
    path = os.path.join(ROOT, *parts)
    assert os.path.normpath(path) == path
    trace = Trace(str(parsed), "client", "mx.example.org", "LMTP", "ID", "date")
    assert trace.fields(resolved.address).count(b"\n") == 5, "a line was injected into the header"


# ---- a body -----------------------------------------------------------------------------------------


class _Spool:
    """Keeps what a file would."""

    def __init__(self) -> None:
        self.data = b""

    def open(self) -> None:
        """Nothing to do."""

    def write(self, data: bytes) -> None:
        """Append."""
        self.data += data


def body(data: bytes) -> None:
    """A body is stored as it came, in memory and in a file, in any portions; and read without surprise."""
    portion, data = (data[0] % 16 + 1, data[1:]) if data else (1, b"")
    pieces = [data[at : at + portion] for at in range(0, len(data), portion)]
    for binary in (False, True):
        kept, spooled = _stored(pieces, binary=binary), _stored(pieces, binary=binary, in_memory=False)
        if b"return-path" not in data.lower():
            assert kept == spooled
            assert kept == (data if binary else on_disk(data))
    header = data[:4096]
    for found in (message_id_of(header), queue_id_of(header), original_recipient(header)):
        assert found.isprintable()


def _stored(pieces: list[bytes], *, binary: bool, in_memory: bool = True) -> bytes:
    usual, spool = message.MEMORY_OCTETS, _Spool()
    message.MEMORY_OCTETS = usual if in_memory else SMALL_MEMORY_OCTETS
    try:
        incoming = Incoming(binary=binary, spool=spool)
        for piece in pieces:
            incoming.add(piece)
        made = incoming.finish()
    finally:
        message.MEMORY_OCTETS = usual
    stored = spool.data if made.data is None else made.data
    assert made.octets == len(stored)
    assert made.wire_octets == wire_octets(stored)
    assert stored.startswith(made.header)
    return stored


TARGETS: dict[str, Callable[[bytes], object]] = {"session": session, "address": address, "body": body}
