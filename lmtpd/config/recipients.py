"""The tables `[[recipients]]`: one class for each kind of source, told apart by the key `source`."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Discriminator, Field, Tag

from lmtpd.config import source_values, values
from lmtpd.config.section import PathText, Section, Switch
from lmtpd.config.template import Template, parse_source_template

_UNKNOWN = "unknown"
_PASSWORD = re.compile(r"(://[^/@:]*:)[^@]*(@)")

FileFormat = Annotated[Literal["passwd-file", "toml"], values.choice("passwd-file", "toml")]
# What an answer of a Postfix table or a socketmap server means.
Result = Annotated[Literal["user", "maildir", "alias"], values.choice("user", "maildir", "alias")]
Scope = Annotated[Literal["base", "one", "sub"], values.choice("base", "one", "sub")]
FieldMap = Annotated[Mapping[str, str], BeforeValidator(source_values.mapping)]
Text = Annotated[str, BeforeValidator(values.text)]


class MaildirsSource(Section):
    """The file system is the list of users: `mailboxes.path` says where each one's Maildir lies."""

    source: Literal["maildirs"] = "maildirs"


class AskedSource(Section):
    """What all sources that know their users by name have in common."""

    # Empty: asked for every domain.
    domains: Annotated[tuple[str, ...], BeforeValidator(source_values.domains)] = ()
    path: Annotated[Template, BeforeValidator(parse_source_template)] | None = None
    create: Switch = True


class RemoteSource(AskedSource):
    """What sources that may be slow, or down, have in common."""

    # An entry has some 500 octets, in each worker.
    cache_entries: Annotated[int, values.whole(0, 10_000_000)] = 10_000
    cache_s: Annotated[int, values.whole(0, 86_400)] = 60
    # Shorter: a user who has just been made shall not wait for his first mail.
    cache_unknown_s: Annotated[int, values.whole(0, 86_400)] = 10
    # Well below the 300 s that Postfix waits for the answer to RCPT (lmtp_rcpt_timeout).
    timeout_s: Annotated[int, values.whole(1, 60)] = 5
    # At the same time, in each worker.
    connections: Annotated[int, values.whole(1, 100)] = 4


class PasswdSource(RemoteSource):
    """The machine's users."""

    source: Literal["passwd"]
    # Below are the machine's own services (adduser.conf).
    first_uid: Annotated[int, values.whole(1, 2**32 - 2)] = 1000


class FileSource(AskedSource):
    """Users in a file, which is read again when it has changed."""

    source: Literal["file"]
    file: PathText
    format: FileFormat = "passwd-file"


class SqlSource(RemoteSource):
    """A query, whose columns say what is known of a user."""

    source: Literal["sql"]
    url: Annotated[str, BeforeValidator(source_values.database)]
    query: Annotated[str, BeforeValidator(source_values.query)]
    columns: FieldMap = Field(default_factory=dict)

    def shown(self, name: str) -> object:
        """Leave out the password: what `check` prints is shown around."""
        return _PASSWORD.sub(r"\1***\2", self.url) if name == "url" else super().shown(name)


class LdapSource(RemoteSource):
    """A search, whose attributes say what is known of a user."""

    source: Literal["ldap"]
    url: Annotated[str, BeforeValidator(source_values.ldap_url)]
    starttls: Switch = False
    ca_file: PathText | None = None
    bind_dn: Text | None = None
    bind_password_file: PathText | None = None
    base: Text
    scope: Scope = "sub"
    filter: Annotated[str, BeforeValidator(source_values.ldap_filter)]
    attributes: FieldMap = Field(default_factory=dict)


class SocketmapSource(RemoteSource):
    """A server that speaks Postfix's and sendmail's socketmap protocol."""

    source: Literal["socketmap"]
    socket: Annotated[str | tuple[str, int], BeforeValidator(source_values.map_socket)]
    map: Annotated[str, BeforeValidator(values.text)]
    result: Result = "user"

    def shown(self, name: str) -> object:
        """Write the socket as it was given."""
        if name != "socket":
            return super().shown(name)
        if isinstance(self.socket, str):
            return f"unix:{self.socket}"
        host, port = self.socket
        return f"inet:[{host}]:{port}" if ":" in host else f"inet:{host}:{port}"


class PostfixSource(RemoteSource):
    """A lookup table of Postfix, asked through postmap."""

    source: Literal["postfix"]
    table: Annotated[str, BeforeValidator(source_values.postfix_table)]
    result: Result = "user"
    postmap: PathText = "/usr/sbin/postmap"
    config_directory: PathText | None = None


SOURCES: dict[str, type[Section]] = {
    "maildirs": MaildirsSource,
    "passwd": PasswdSource,
    "file": FileSource,
    "sql": SqlSource,
    "ldap": LdapSource,
    "socketmap": SocketmapSource,
    "postfix": PostfixSource,
}


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
    Annotated[MaildirsSource, Tag("maildirs")]
    | Annotated[PasswdSource, Tag("passwd")]
    | Annotated[FileSource, Tag("file")]
    | Annotated[SqlSource, Tag("sql")]
    | Annotated[LdapSource, Tag("ldap")]
    | Annotated[SocketmapSource, Tag("socketmap")]
    | Annotated[PostfixSource, Tag("postfix")]
    | Annotated[UnknownSource, Tag(_UNKNOWN)],
    Discriminator(_kind),
]
