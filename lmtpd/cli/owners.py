"""What a configuration says about whose rights deliveries have, made into the parts that act on it."""

import os
from collections.abc import Callable

from lmtpd.config import Config
from lmtpd.recipients.directory import Directory
from lmtpd.recipients.owners import OwnedRecipients, OwnerRules, Recipients
from storage.disk import Disk
from storage.maildir import Durability, Maildir, MaildirPath
from storage.maildirs import Maildirs
from storage.names import NameSource
from storage.owned_disk import OwnersDisk

# Below the state directory, a Maildir in all but its use: bodies that arrive for several owners.
APART = ("spool",)


def mailbox_disk(config: Config) -> Disk:
    """The disk that mailboxes are reached with. Who is not root can take no other rights."""
    if config.acts_as_recipients and os.geteuid() == 0:
        return OwnersDisk(config.owners.gids)
    return Disk()


def with_owners(config: Config, directory: Directory, disk: Disk) -> Recipients:
    """The recipients, with the rights of their owners where deliveries act with them."""
    if not config.acts_as_recipients:
        return directory
    return OwnedRecipients(directory, disk, OwnerRules(config.owners.first_uid, config.owners.groups))


def place_apart(
    config: Config, names: NameSource, dead_tokens: Callable[[], frozenset[str]]
) -> Callable[[], Maildir] | None:
    """What opens the server's own place for bodies; None: one user owns all mailboxes."""
    if not config.acts_as_recipients:
        return None
    # A copy is synced, not what it was copied from.
    own = Maildirs(Disk(), names, durable=Durability.NONE, dead_tokens=dead_tokens)
    where = MaildirPath(config.state, APART)
    return lambda: own.open(where, create=True)
