"""Folders of quota rules that no mailbox can have: such a rule counts for nothing."""

from collections.abc import Iterator

from lmtpd.config import Config
from lmtpd.config.problems import Finding
from storage.folders import FolderNameError, FolderNames, Layout, folder_parts


def folder_mistakes(config: Config) -> Iterator[Finding]:
    """Find rules whose folder has an impossible name."""
    for index, rule in enumerate(config.quota.folders):
        if why := _why_impossible(rule.folder, FolderNames(config.mailboxes.folder_names)):
            yield Finding(("quota", "folders", index), f"no folder can have this name: {why}", str(rule))


def _why_impossible(folder: str, names: FolderNames) -> str:
    """Say why no layout has such a folder; "" if one has. A user may have either, whatever the site has."""
    reasons = []
    for layout in Layout:
        try:
            folder_parts(layout, folder, names=names)
        except FolderNameError as exc:
            reasons.append(str(exc))
    return reasons[0] if len(reasons) == len(Layout) else ""
