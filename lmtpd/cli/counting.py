"""Which messages count for a quota, by the configuration."""

from lmtpd.config import Config
from storage.folders import FolderNames, Layout
from storage.quota_count import Counting


def counting_of(config: Config, layout: Layout) -> Counting:
    """Make the rules of counting of the `[quota]` section."""
    quota = config.quota
    ignored = {each.folder for each in quota.folders if each.extra is None}
    counts_trashed = quota.deleted == "counted"
    names = FolderNames(config.mailboxes.folder_names)
    return Counting(
        layout, frozenset(ignored if counts_trashed else ignored | {"Trash"}), counts_trashed, names
    )
