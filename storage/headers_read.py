"""One field of a stored message's header, read with bounds: for statistics, never for a decision."""

import re

from storage.directory import Directory

# As much of a header as is looked at; most are shorter than 8 KiB.
HEADER_OCTETS = 1 << 16
_PIECE = 1 << 12

_FROM = re.compile(rb"^from[ \t]*:(.*(?:\n[ \t].*)*)", re.IGNORECASE | re.MULTILINE)
_ADDRESS = re.compile(r"<([^<>\s]+@[^<>\s]+)>|([^<>\s,;:\"()]+@[^<>\s,;:\"()]+)")


def sender_of(part: Directory, name: str) -> str:
    """Return the first address of a message's From field, in lower case; "" if there is none.

    A link is not followed; what cannot be read has no sender.
    """
    disk = part.disk
    try:
        fd = disk.open_file(name, dir_fd=part.fd)
    except OSError:
        return ""
    try:
        header = b""
        while b"\n\n" not in header and b"\n\r\n" not in header and len(header) < HEADER_OCTETS:
            piece = disk.read(fd, _PIECE)
            if not piece:
                break
            header += piece
    except OSError:
        return ""
    finally:
        disk.close(fd)
    header = re.split(rb"\n\r?\n", header, maxsplit=1)[0]
    field = _FROM.search(header)
    if field is None:
        return ""
    # In front of the address may stand anything, also an address; behind the name it is the last.
    found = [match.groups("") for match in _ADDRESS.finditer(field[1].decode("utf-8", "replace"))]
    bracketed = [each for each, _ in found if each]
    sender: str = (bracketed or [bare for _, bare in found] or [""])[0]
    return sender.lower()
