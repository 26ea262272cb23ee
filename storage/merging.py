"""Copies of a message made one: by marks on the one that stays, and by links in the place of the others.

A mail reader may rename, delete or replace any of them at any moment, with or without a lock. So nothing is
ever renamed over a message: a link is exchanged with the copy that it replaces, and what came out is looked
at before it goes.
"""

from contextlib import suppress
from enum import Enum

from storage.directory import Directory
from storage.disk import exchange, link
from storage.duplicates import Copy
from storage.errors import MailboxMissing
from storage.listing import enter_folder
from storage.messages import MessageFile, locate
from storage.names import NameSource


class Linked(Enum):
    """What became of a copy that was to be a link."""

    DONE = "linked"
    ALREADY = "it is a link already"
    DATE = "its date is another"
    OWNER = "its owner or mode is another"
    DEVICE = "it is on another file system"
    CHANGED = "a mail reader was at work on it"


def mark(maildir: Directory, copy: Copy, flags: str) -> MessageFile:
    """Give a message flags in addition to those it has now; return its place. MailboxMissing, OSError."""
    folder = enter_folder(maildir, copy.folder)
    while True:
        place, _ = locate(folder, copy.message)
        wanted = place.with_flags(place.flags + flags)
        if set(wanted.flags) == set(place.flags):
            return place
        source, cur = folder.enter(place.part), folder.enter("cur")
        with suppress(FileNotFoundError):  # renamed meanwhile
            folder.disk.rename_exclusive(place.name, wanted.name, src_dir_fd=source.fd, dst_dir_fd=cur.fd)
            cur.sync()
            source.sync()
            return wanted


def is_there(maildir: Directory, copy: Copy) -> bool:
    """Tell whether a message is still the file that was looked at. OSError."""
    try:
        _, status = locate(enter_folder(maildir, copy.folder), copy.message)
    except (MailboxMissing, FileNotFoundError):
        return False
    return copy.is_file(status)


def link_over(maildir: Directory, kept: Copy, copy: Copy, names: NameSource) -> Linked:
    """Put a link to the one that stays in the place of a copy with the same octets. OSError.

    Its name, flags and UID stay. What must not change has to be the same already: date, owner, mode.
    """
    if kept.identity == copy.identity:
        return Linked.ALREADY
    if kept.identity[0] != copy.identity[0]:
        return Linked.DEVICE
    source, target = enter_folder(maildir, kept.folder), enter_folder(maildir, copy.folder)
    try:
        kept_place, status = locate(source, kept.message)
        place, other = locate(target, copy.message)
    except MailboxMissing:
        return Linked.CHANGED
    if not (kept.is_file(status) and copy.is_file(other)):
        return Linked.CHANGED
    if status.st_mtime_ns != other.st_mtime_ns:
        return Linked.DATE
    if (status.st_uid, status.st_gid, status.st_mode) != (other.st_uid, other.st_gid, other.st_mode):
        return Linked.OWNER
    return _exchange(source.enter(kept_place.part), kept_place, target, place, copy, names.next())


def _exchange(
    source: Directory,
    kept: MessageFile,
    target: Directory,
    place: MessageFile,
    copy: Copy,
    name: str,
) -> Linked:
    tmp, part = target.enter("tmp"), target.enter(place.part)
    try:
        link(kept.name, name, src_dir_fd=source.fd, dst_dir_fd=tmp.fd)
    except FileNotFoundError:
        return Linked.CHANGED
    try:
        exchange(name, place.name, dir_fd=tmp.fd, other_dir_fd=part.fd)
    except OSError as exc:
        tmp.disk.unlink(name, dir_fd=tmp.fd)
        if isinstance(exc, FileNotFoundError):
            return Linked.CHANGED
        raise
    # From here on there is a message in tmp/: it must not go before it is known which.
    if not copy.is_file(tmp.disk.status(name, dir_fd=tmp.fd)):
        _give_back(tmp, name, part, place.name)
        return Linked.CHANGED
    part.sync()
    tmp.disk.unlink(name, dir_fd=tmp.fd)
    return Linked.DONE


def _give_back(tmp: Directory, name: str, part: Directory, place: str) -> None:
    """Put back a file that somebody had put in the copy's place right before the exchange."""
    try:
        exchange(name, place, dir_fd=tmp.fd, other_dir_fd=part.fd)
    except FileNotFoundError:
        # The link has been renamed or deleted meanwhile.
        tmp.disk.rename_exclusive(name, place, src_dir_fd=tmp.fd, dst_dir_fd=part.fd)
        return
    tmp.disk.unlink(name, dir_fd=tmp.fd)
