"""The source `maildirs` over a root of the test's own."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from lmtpd.recipients.maildirs import Detail, MaildirRules, MaildirSource
from storage.disk import Disk
from storage.folders import Layout


def source(root: Path, template: str = "{domain}/{user}", **changes: Any) -> MaildirSource:
    return MaildirSource(Disk(), rules(root, template, **changes))


def rules(root: Path, template: str = "{domain}/{user}", **changes: Any) -> MaildirRules:
    given = MaildirRules(
        template=f"{root}/{template}",
        create=False,
        layout=Layout.MAILDIRPP,
        detail=Detail.EXISTING,
        delimiters="+",
        fold_case=True,
    )
    return replace(given, **changes)
