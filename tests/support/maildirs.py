"""Reading Maildirs back: what is there, what of it we added, and what the client had sent."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

# Exactly what lmtpd puts on top, in this order; X-Original-To only where it is known. Everything behind the
# (folded) Received line is the message's own, which may begin with the same names again.
_ADDED = re.compile(
    rb"(?P<return_path>Return-Path: [^\n]*\n)"
    rb"(?P<delivered_to>Delivered-To: [^\n]*\n)"
    rb"(?P<original_to>X-Original-To: [^\n]*\n)?"
    rb"(?P<received>Received: [^\n]*\n(?:[ \t][^\n]*\n)*)"
)
_NAME = re.compile(
    r"(?P<seconds>\d+)\.M(?P<usec>\d+)P(?P<pid>\d+)Q(?P<count>\d+)R(?P<token>[0-9a-f]+)"
    r"\.(?P<host>[^,:/]+),S=(?P<octets>\d+),W=(?P<wire_octets>\d+)(?::2,(?P<flags>[A-Za-z]*))?"
)


@dataclass(frozen=True, slots=True)
class Stored:
    """One message file, taken apart."""

    path: Path
    data: bytes
    return_path: str
    delivered_to: str
    original_to: str | None
    received: str
    original: bytes
    """What is left without our headers: the client's message as it lies on disk."""

    @property
    def sha256(self) -> str:
        """The digest of the client's message on disk."""
        return hashlib.sha256(self.original).hexdigest()


def files(maildir: Path) -> list[Path]:
    """Return the message files of new/ and cur/, oldest name first; none where there is no Maildir."""
    found = [path for part in ("new", "cur") for path in (maildir / part).glob("*")]
    return sorted(found, key=lambda path: path.name)


def leftovers(maildir: Path) -> list[Path]:
    """Return what lies in tmp/."""
    return sorted((maildir / "tmp").glob("*"))


def messages(maildir: Path) -> list[Stored]:
    """Read every message, checking its name, its sizes, its mode and the form of our headers."""
    return [read(path) for path in files(maildir)]


def only_message(maildir: Path) -> Stored:
    """Return the one message that is there."""
    found = messages(maildir)
    assert len(found) == 1, f"{len(found)} messages in {maildir}"
    return found[0]


def read(path: Path) -> Stored:
    """Read one message file and hold it against what is promised about files."""
    data = path.read_bytes()
    name = _NAME.fullmatch(path.name)
    assert name, f"not a name of ours: {path.name}"
    assert int(name["octets"]) == len(data), f"S= is wrong: {path.name} has {len(data)} octets"
    assert int(name["wire_octets"]) == wire_octets(data), f"W= is wrong: {path.name}"
    assert path.stat().st_mode & 0o777 == 0o600, f"mode of {path.name}"
    added = _ADDED.match(data)
    assert added, f"our headers are not on top of {path}: {data[:300]!r}"
    return Stored(
        path=path,
        data=data,
        return_path=_value(added["return_path"]),
        delivered_to=_value(added["delivered_to"]),
        original_to=_value(added["original_to"]) if added["original_to"] else None,
        received=_value(added["received"]),
        original=data[added.end() :],
    )


def on_disk(wire: bytes) -> bytes:
    """Return what must lie on disk, behind our headers, of a message sent as `wire`.

    CRLF becomes LF, a Return-Path in the header goes; nothing else changes.
    """
    # Splits at LF alone; bytes.splitlines would split at a bare CR as well.
    lines = re.findall(rb"[^\n]*\n|[^\n]+", wire.replace(b"\r\n", b"\n"))
    header_lines = lines.index(b"\n") if b"\n" in lines else len(lines)
    kept = []
    dropping = False
    for line in lines[:header_lines]:
        if not (dropping and line[:1] in (b" ", b"\t")):
            dropping = line[:12].lower() == b"return-path:"
        if not dropping:
            kept.append(line)
    return b"".join(kept + lines[header_lines:])


def wire_octets(data: bytes) -> int:
    """Return the size with CRLF line ends: each LF without its CR counts once more."""
    return len(data) + data.count(b"\n") - data.count(b"\r\n")


def _value(header: bytes) -> str:
    return header.decode("utf-8").split(":", 1)[1].strip()
