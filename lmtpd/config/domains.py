"""The tables `[domains."example.org"]`: what is different for one domain."""

from typing import Annotated, Literal

from pydantic import BeforeValidator

from lmtpd.config import source_values, values
from lmtpd.config.quota import parse_limit
from lmtpd.config.section import Section, Switch
from lmtpd.config.template import Template, parse_template
from storage.quota_limit import QuotaLimit

# The words are those of the modules that act on them, which make their own types of them.
Layout = Annotated[Literal["maildir++", "fs"], values.choice("maildir++", "fs")]
Detail = Annotated[Literal["inbox", "existing", "create"], values.choice("inbox", "existing", "create")]
FolderNames = Annotated[Literal["utf-7", "utf-8"], values.choice("utf-7", "utf-8")]
FolderLevels = Annotated[int, values.whole(1, 20)]


class Domain(Section):
    """One domain; what is not set here is as in `[mailboxes]`."""

    same_as: Annotated[str, BeforeValidator(source_values.domain)] | None = None
    """Another domain: `user@` here is `user@` there."""
    catch_all: Annotated[tuple[str, ...], BeforeValidator(source_values.addresses_or_none)] = ()
    """Who gets what nobody else in the domain knows."""
    quota: Annotated[QuotaLimit, BeforeValidator(parse_limit)] | None = None
    """What each mailbox may hold, where its source says nothing."""
    path: Annotated[Template, BeforeValidator(parse_template)] | None = None
    """As `mailboxes.path`."""
    create: Switch | None = None
    """As `mailboxes.create`."""
    layout: Layout | None = None
    """As `mailboxes.layout`."""
    detail: Detail | None = None
    """As `mailboxes.detail`."""
    folder_names: FolderNames | None = None
    """As `mailboxes.folder_names`."""
    folder_levels: FolderLevels | None = None
    """As `mailboxes.folder_levels`."""
    subscribe: Switch | None = None
    """As `mailboxes.subscribe`."""
