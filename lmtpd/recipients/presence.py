"""What is on disk where a mailbox should be: asked of the file system each time, never remembered."""

from stat import S_ISDIR

from lmtpd.recipients.mailbox import Mailbox, Unavailable, Unknown
from lmtpd.recipients.rules import Detail, MaildirRules
from storage.disk import Disk
from storage.errors import MailboxMissing, StorageError, from_oserror
from storage.folders import FolderNameError, Layout, folder_of_name, folder_parts
from storage.maildir import MaildirPath
from storage.thread_rights import Rights


def is_directory(disk: Disk, path: str) -> bool:
    """Raise StorageError for anything but a directory or nothing at all."""
    try:
        status = disk.status(path)
    except OSError as exc:
        error = from_oserror(exc)
        if isinstance(error, MailboxMissing):
            return False
        raise error from exc
    if not S_ISDIR(status.st_mode):
        raise StorageError(f"{path}: not a directory")
    return True


def owners_eyes(disk: Disk, mailbox: Mailbox) -> Disk:
    """The disk to look into a mailbox with: what its owner may not see is not there. StorageError.

    Where one user owns all mailboxes it is the disk itself.
    """
    try:
        if mailbox.owner is not None:
            uid, gid = mailbox.owner.uid, mailbox.owner.gid
        else:
            status = disk.status(mailbox.maildir.path)
            uid, gid = status.st_uid, status.st_gid
        # Root's own mailboxes get no mail where owners matter.
        return disk if 0 in (uid, gid) else disk.acting_as(Rights(uid, gid))
    except OSError as exc:
        raise from_oserror(exc) from exc


def missing(disk: Disk, maildir: MaildirPath) -> Unknown | Unavailable:
    """Say Unknown only if the tree that the Maildir is missing from is really there."""
    try:
        handle = disk.open_directory(maildir.root, follow=True)
    except OSError as exc:
        return Unavailable(f"the mailbox root cannot be read: {from_oserror(exc)}")
    try:
        # An empty root is far more often a file system that is not mounted than a site
        # without a single mailbox, and a bounce cannot be taken back.
        empty = not any(name != "lost+found" for name in disk.list_names(handle))
    except OSError as exc:
        return Unavailable(f"the mailbox root cannot be read: {from_oserror(exc)}")
    finally:
        disk.close(handle)
    if empty:
        return Unavailable(f"the mailbox root {maildir.root} is empty: not mounted?")
    return Unknown(f"no Maildir at {maildir.path}")


def folder_for(disk: Disk, maildir: MaildirPath, detail: str, *, rules: MaildirRules) -> str | None:
    """Find the folder that detail names: exactly, else in another case. StorageError."""
    wanted = folder_name(rules, detail)
    if rules.detail is Detail.INBOX or wanted is None:
        return None
    parts = maildir.parts + folder_parts(rules.layout, wanted, names=rules.names)
    if is_directory(disk, MaildirPath(maildir.root, parts).path):
        return wanted
    if rules.layout is not Layout.MAILDIRPP:
        return None
    try:
        handle = disk.open_directory(maildir.path)
    except OSError as exc:
        raise from_oserror(exc) from exc
    try:
        names = [name for name in disk.list_names(handle) if name.startswith(".")]
    except OSError as exc:
        raise from_oserror(exc) from exc
    finally:
        disk.close(handle)
    folders = (folder_of_name(name, names=rules.names) for name in names)
    return min((each for each in folders if each and each.lower() == wanted.lower()), default=None)


def folder_name(rules: MaildirRules, detail: str) -> str | None:
    """Read a detail as a folder name: "." is the separator, INBOX in any case is the INBOX."""
    return None if why_no_folder(rules, detail) else detail.replace(".", "/")


def why_no_folder(rules: MaildirRules, detail: str) -> str:
    """Say why a detail names no folder but the inbox; "" if it names one."""
    folder = detail.replace(".", "/")
    if folder.lower() == "inbox":
        return "which it names"
    if folder.count("/") >= rules.levels:
        return f"since it has more levels than folder_levels allows, {rules.levels}"
    try:
        folder_parts(rules.layout, folder, names=rules.names)
    except FolderNameError as exc:
        return f"since no folder can have this name: {exc}"
    return ""


def tell_detail(rules: MaildirRules, detail: str, folder: str | None) -> str:
    """Say where the detail has led, and if to the inbox, why."""
    if folder is not None:
        return f"{detail}: to the folder {folder}"
    if rules.detail is Detail.INBOX:
        why = "as all details"
    else:
        why = why_no_folder(rules, detail) or "since there is no such folder"
    return f"{detail}: to the inbox, {why}"
