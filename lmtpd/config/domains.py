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
    catch_all: Annotated[tuple[str, ...], BeforeValidator(source_values.addresses_or_none)] = ()
    quota: Annotated[QuotaLimit, BeforeValidator(parse_limit)] | None = None
    path: Annotated[Template, BeforeValidator(parse_template)] | None = None
    create: Switch | None = None
    layout: Layout | None = None
    detail: Detail | None = None
    folder_names: FolderNames | None = None
    folder_levels: FolderLevels | None = None
    subscribe: Switch | None = None
