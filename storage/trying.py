"""Whether a Maildir could be opened and a message staged in it, found out without changing anything.

The rule: every step of `Maildirs.open` and of staging that can be refused for want of a right, or for what
lies in the way, is refused here alike. That a disk is full shows only when something is written.
"""

from storage.directory import Directory, open_root
from storage.disk import Disk
from storage.errors import MailboxUnusable, from_oserror
from storage.maildir import MaildirPath

_PARTS = ("tmp", "new", "cur")  # in the order in which they are opened
_WRITTEN = frozenset({"tmp", "new"})  # a delivery makes files in these


def try_open(disk: Disk, where: MaildirPath, *, create: bool) -> bool:
    """Return whether the Maildir is there; False: it would be made.

    MailboxMissing: there is no directory, and not create; any other StorageError: it cannot be used.
    """
    try:
        disk = disk.acting_as(where.rights)
        try:
            reached = open_root(disk, where.root)
        except FileNotFoundError as exc:
            raise MailboxUnusable(f"the root of the mailboxes is missing: {exc}") from exc
        for part in where.parts:
            try:
                reached = reached.pass_through(part)
            except FileNotFoundError:
                if not create:
                    raise
                _may_add(reached, where)
                return False
        _try_parts(reached, where)
    except OSError as exc:
        raise from_oserror(exc) from exc
    return True


def _try_parts(maildir: Directory, where: MaildirPath) -> None:
    for name in _PARTS:
        try:
            part = maildir.enter(name)
        except FileNotFoundError:
            _may_add(maildir, where)  # it is repaired
        else:
            if name in _WRITTEN:
                _may_add(part, where, name)


def _may_add(directory: Directory, where: MaildirPath, name: str = "") -> None:
    try:
        directory.disk.may_add(dir_fd=directory.fd)
    except PermissionError as exc:
        path = f"{where.path}/{name}" if name else where.path
        raise PermissionError(exc.errno, exc.strerror, path) from exc
