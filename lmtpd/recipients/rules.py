"""What the configuration says of mailboxes: one set of rules for each domain, values only."""

from dataclasses import dataclass
from enum import Enum

from storage.folders import LEVELS, FolderNames, Layout
from storage.quota_limit import QuotaLimit


class Detail(Enum):
    """Where user+detail goes."""

    INBOX = "inbox"
    EXISTING = "existing"  # to the folder of this name if there is one
    CREATE = "create"  # to the folder of this name, made if it is missing


@dataclass(frozen=True, slots=True)
class MaildirRules:
    """The `[mailboxes]` section, or what a `[domains]` table makes of it."""

    template: (
        str | None
    )  # absolute; {user}, {domain}, {detail}; None: each source says where its mailboxes are
    create: bool
    layout: Layout
    detail: Detail
    delimiters: str
    fold_case: bool
    names: FolderNames = FolderNames.UTF7
    levels: int = LEVELS  # of folders that details make or name
    subscribe: bool = False  # folders that deliveries make are entered in the list that mail readers show
    quota: QuotaLimit | None = None  # of each mailbox, where its source says nothing
