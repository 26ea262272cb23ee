"""The tables `[[recipients]]`: one class for each kind of source, told apart by the key `source`."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Discriminator, Tag

from lmtpd.config import values
from lmtpd.config.section import Section

_UNKNOWN = "unknown"


class MaildirsSource(Section):
    """The file system is the list of users: `mailboxes.path` says where each one's Maildir lies."""

    source: Literal["maildirs"] = "maildirs"


SOURCES: dict[str, type[Section]] = {"maildirs": MaildirsSource}


def _known_source(value: object) -> object:
    values.word(value, tuple(SOURCES))
    return value


class UnknownSource(Section):
    """A table of a kind that there is not: nothing is said of its other keys."""

    model_config = ConfigDict(extra="ignore")

    source: Annotated[str, BeforeValidator(_known_source)]


def _kind(value: Any) -> str:  # Any: whatever TOML holds here
    if isinstance(value, Section):
        return str(getattr(value, "source", _UNKNOWN))
    kind = value.get("source") if isinstance(value, Mapping) else None
    return kind if isinstance(kind, str) and kind in SOURCES else _UNKNOWN


RecipientSource = Annotated[
    Annotated[MaildirsSource, Tag("maildirs")] | Annotated[UnknownSource, Tag(_UNKNOWN)],
    Discriminator(_kind),
]
