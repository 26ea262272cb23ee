"""What an address resolves to.

A source never raises for what the world does; it answers `Mailbox`, `Unknown` (we are sure: 550),
`Unavailable` (we are not sure: 451), or `Aliases`: ask again for these.
"""

from dataclasses import dataclass, field

from lmtpd.protocol.addresses import Address
from storage.errors import StorageError
from storage.folders import FolderNames, Layout
from storage.maildir import MaildirPath
from storage.quota_limit import QuotaLimit


@dataclass(frozen=True, slots=True)
class MailboxOwner:
    """Whose rights a delivery needs, and whom the files it makes belong to."""

    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Mailbox:
    """One recipient's mailbox and the folder that the address asks for.

    What a source says of the user himself is None where it says nothing: then the configuration's own
    value counts.
    """

    user: str  # folded, without the detail
    address: str  # what Delivered-To says: user[+detail]@domain, RFC 5321 form
    maildir: MaildirPath  # the INBOX
    layout: Layout
    folder: str | None  # "A/B" below the INBOX; None is the INBOX itself
    create: bool  # a missing Maildir is made
    create_folder: bool  # a missing folder is made, else the INBOX serves
    owner: MailboxOwner | None = None
    quota: QuotaLimit | None = None  # QuotaLimit() is a user without a limit
    script: str | None = None  # the path of the user's filter; relative ones begin at home
    home: str | None = None  # absolute
    names: FolderNames = FolderNames.UTF7
    subscribe: bool = False  # a folder that a delivery makes is entered in the list of folders to show
    alias: str = ""  # the address that stood for this one, where the client named an alias


def own_address(mailbox: Mailbox) -> str:
    """Return the address of a mailbox itself, without the detail, or the alias, that a message had."""
    local, _, domain = mailbox.user.rpartition("@")
    if not local:
        local, domain = mailbox.user, mailbox.address.rpartition("@")[2]
    return str(Address(local, domain)) if domain else mailbox.address


@dataclass(frozen=True, slots=True)
class Unknown:
    """There is no such mailbox, and we are sure of it."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unavailable:
    """The question could not be answered now; the sender shall ask again later."""

    reason: str
    error: StorageError | None = field(default=None, compare=False)  # what the mailbox's disk said, if that


@dataclass(frozen=True, slots=True)
class Aliases:
    """The address stands for others."""

    targets: tuple[Address, ...]
    own: "Mailbox | Unavailable | None" = None  # what it is itself, where it is one of its targets


@dataclass(frozen=True, slots=True)
class Mailboxes:
    """The address stands for several mailboxes: each gets a copy, and all together one answer."""

    address: str
    mailboxes: tuple[Mailbox, ...]  # two or more, all different


Found = Mailbox | Aliases | Unknown | Unavailable  # of one source
Resolved = Mailbox | Mailboxes | Unknown | Unavailable  # of all sources, aliases followed


@dataclass(frozen=True, slots=True)
class Step:
    """One look-up and what came of it, for `lmtpd explain`."""

    question: str
    answer: str
