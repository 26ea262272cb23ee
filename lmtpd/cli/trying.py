"""What a delivery would meet where the mailbox is, for `lmtpd explain`. Nothing is changed."""

import os
import pwd

from lmtpd.cli.failures import Failure
from lmtpd.config import Config
from lmtpd.recipients.mailbox import Mailbox
from lmtpd.server.startup import drop_privileges, load_codecs
from storage.disk import Disk
from storage.errors import MailboxMissing, StorageError
from storage.folders import folder_parts
from storage.trying import try_open


def become_like_server(config: Config) -> None:
    """Take the rights that the server has, for good: root would find no mailbox in trouble. Raises Failure.

    Where deliveries act as the owners of mailboxes, whoever looks into one takes its owner's rights there.
    """
    user = config.server.run_as
    if user is None or config.acts_as_recipients or os.geteuid() != 0:
        return
    try:
        load_codecs()
        drop_privileges(pwd.getpwnam(user))
    except KeyError as exc:
        raise Failure(f"server.run_as: there is no user {user}", os.EX_NOUSER) from exc
    except OSError as exc:
        raise Failure(f"server.run_as: {user}: {exc.strerror}", os.EX_NOPERM) from exc


def explain_eyes(config: Config) -> str:
    """Say with whose rights all this was looked at; "" where they are the server's."""
    user = config.server.run_as
    if user is None or os.geteuid() == 0:
        return ""
    me = _name_of(os.geteuid())
    if me == user:
        return ""
    return f"{me}'s eyes: what the server finds, as {user}, may be otherwise; run this as root"


def trouble_of(disk: Disk, mailbox: Mailbox) -> StorageError | None:
    """Tell why the mailbox, or the folder that the address names, could not be opened for a delivery."""
    try:
        _try_folder(disk, mailbox)
    except StorageError as error:
        return error
    return None


def _try_folder(disk: Disk, mailbox: Mailbox) -> None:
    if mailbox.folder is None:
        try_open(disk, mailbox.maildir, create=mailbox.create)
        return
    folder = mailbox.maildir.below(folder_parts(mailbox.layout, mailbox.folder, names=mailbox.names))
    try:
        try_open(disk, folder, create=False)
    except MailboxMissing:
        is_there = try_open(disk, mailbox.maildir, create=mailbox.create)
        if is_there and mailbox.create_folder:
            try_open(disk, folder, create=True)


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
