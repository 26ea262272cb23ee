"""Holding a folder against Dovecot's list of its UIDs. Nothing is mended: Dovecot does that itself."""

from collections.abc import Iterator, Set

from storage import uidlist
from storage.directory import Directory
from storage.findings import Finding, Place, Weight
from storage.listing import Folder
from storage.uidlist import UidlistUnreadable


def check_uidlist(directory: Directory, folder: Folder, seen: Set[int]) -> Iterator[Finding]:
    """Compare; seen: the hashes of the folder's file names without flags. OSError."""
    place = Place(folder.parts, "", uidlist.NAME)
    try:
        listed = uidlist.read(directory)
    except UidlistUnreadable as exc:
        yield Finding("uidlist", place, f"{exc}; Dovecot will give new UIDs to all messages")
        return
    if listed is None:
        return
    for fault in listed.faults:
        yield Finding("uidlist", place, fault)
    gone = sum(hash(name) not in seen for name in listed.uids)
    if gone:
        yield Finding("uidlist", place, f"{gone} of its messages are gone", Weight.NOTE)
    new = len(seen) - (len(listed.uids) - gone)
    if new > 0:
        yield Finding("uidlist", place, f"{new} messages have no UID yet", Weight.NOTE)
