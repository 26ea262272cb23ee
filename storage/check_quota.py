"""Holding a Maildir's `maildirsize` against what is there, if it has one."""

from collections.abc import Iterator

from storage import maildirsize
from storage.directory import Directory
from storage.findings import Finding, MakeFile, Place, Weight
from storage.folders import Layout
from storage.quota_count import Counting, count, has_changed
from storage.quota_limit import Usage

_PLACE = Place((), "", maildirsize.NAME)


def check_quota(maildir: Directory, layout: Layout) -> Iterator[Finding]:
    """Compare; nothing is said while mail comes and goes. OSError."""
    content = _content(maildir)
    if content is None:
        return
    account = maildirsize.parse(content)
    # Dovecot counts everything; Courier, whose rule it is, neither Trash nor what is marked as deleted.
    everything = Counting(layout)
    counted = count(maildir, everything)
    without_trash = count(maildir, Counting(layout, frozenset({"Trash"}), counts_trashed=False)).usage
    if has_changed(maildir, everything, counted) or _content(maildir) != content:
        return
    fix = MakeFile(maildirsize.whole(account.limit, counted.usage), instead_of=content)
    if not account.is_sound:
        text = "it cannot be read, or is full: whoever needs it will count the mailbox"
        yield Finding("maildirsize", _PLACE, text, Weight.NOTE, fix)
    elif account.usage not in (counted.usage, without_trash):
        text = f"it says {_said(account.usage)}, there are {_said(counted.usage)}"
        yield Finding("maildirsize", _PLACE, text, fix=fix)


def _said(usage: Usage) -> str:
    return f"{usage.octets} octets in {usage.messages} messages"


def _content(maildir: Directory) -> bytes | None:
    try:
        fd = maildir.disk.open_file(maildirsize.NAME, dir_fd=maildir.fd)
    except FileNotFoundError:
        return None
    try:
        return maildir.disk.read(fd, maildirsize.FILE_OCTETS + 1)
    finally:
        maildir.disk.close(fd)
