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
    """The directories that exist are the users."""


class AskedSource(Section):
    """What all sources that know their users by name have in common."""

    # Empty: asked for every domain.
    domains: Annotated[tuple[str, ...], BeforeValidator(source_values.domains)] = ()
    """The domains that the source is asked for; empty: all."""
    path: Annotated[Template, BeforeValidator(parse_source_template)] | None = None
    """Where the Maildirs are: as `mailboxes.path`, and `{home}` at the beginning."""
    create: Switch = True
    """Make a known user's Maildir; else 451 while it is missing."""


class RemoteSource(AskedSource):
    """What sources that may be slow, or down, have in common."""

    # An entry has some 500 octets, in each worker.
    cache_entries: Annotated[int, values.whole(0, 10_000_000)] = 10_000
    """Answers that are remembered in each worker."""
    cache_s: Annotated[int, values.whole(0, 86_400)] = 60
    """Seconds that an answer is remembered; `0`: not at all."""
    # Shorter: a user who has just been made shall not wait for his first mail.
    cache_unknown_s: Annotated[int, values.whole(0, 86_400)] = 10
    """Seconds that "no such user" is remembered."""
    # Well below the 300 s that Postfix waits for the answer to RCPT (lmtp_rcpt_timeout).
    timeout_s: Annotated[int, values.whole(1, 60)] = 5
    """Seconds for each question, connecting included; then 451."""
    # At the same time, in each worker.
    connections: Annotated[int, values.whole(1, 100)] = 4
    """Questions at the same time, in each worker."""


class PasswdSource(RemoteSource):
    """The machine's users."""

    source: Literal["passwd"]
    """The machine's users, as the name service knows them."""
    # Below are the machine's own services (adduser.conf).
    first_uid: Annotated[int, values.whole(1, 2**32 - 2)] = 1000
    """The lowest uid that is a user."""


class FileSource(AskedSource):
    """Users in a file, which is read again when it has changed."""

    source: Literal["file"]
    """Users in a file."""
    file: PathText
    """The file; it is read again when it has changed."""
    format: FileFormat = "passwd-file"
    """Dovecot's passwd-file, or TOML."""


class SqlSource(RemoteSource):
    """A query, whose columns say what is known of a user."""

    source: Literal["sql"]
    """Users in a database."""
    url: Annotated[str, BeforeValidator(source_values.database)]
    """The database: `postgresql://USER:PASSWORD@HOST/NAME` or `sqlite:///PATH`."""
    query: Annotated[str, BeforeValidator(source_values.query)]
    """The query, with `:address`, `:user`, `:domain` and `:detail`."""
    columns: FieldMap = Field(default_factory=dict)
    """The columns of the fields, where they have other names."""
    iterate_query: Annotated[str, BeforeValidator(source_values.iterate_query)] | None = None
    """The query for everybody, for the scripts' `--all`: the column `address`, or `user` and `domain`."""

    def shown(self, name: str) -> object:
        """Leave out the password: what `check` prints is shown around."""
        return _PASSWORD.sub(r"\1***\2", self.url) if name == "url" else super().shown(name)


class LdapSource(RemoteSource):
    """A search, whose attributes say what is known of a user."""

    source: Literal["ldap"]
    """Users in a directory."""
    url: Annotated[str, BeforeValidator(source_values.ldap_url)]
    """The server: `ldap://`, `ldaps://` or `ldapi://`."""
    starttls: Switch = False
    """Begin TLS before anything else is said."""
    ca_file: PathText | None = None
    """The certificates that the server's must be signed by; unset: the system's."""
    bind_dn: Text | None = None
    """Who we are there; unset: nobody."""
    bind_password_file: PathText | None = None
    """A file whose first line is the password."""
    base: Text
    """Where to search."""
    scope: Scope = "sub"
    """How deep to search."""
    filter: Annotated[str, BeforeValidator(source_values.ldap_filter)]
    """What to search for, with `{address}`, `{user}`, `{domain}` and `{detail}`."""
    attributes: FieldMap = Field(default_factory=dict)
    """The attributes of the fields; unset: an entry says that there is the user."""
    iterate_filter: Annotated[str, BeforeValidator(source_values.iterate_filter)] | None = None
    """What everybody is found by, for `--all` of the admin scripts."""
    iterate_attribute: Text = "mail"
    """The attribute that has the address, or the user, of whoever is found by `iterate_filter`."""


class SocketmapSource(RemoteSource):
    """A server that speaks Postfix's and sendmail's socketmap protocol."""

    source: Literal["socketmap"]
    """A server that speaks the socketmap protocol."""
    socket: Annotated[str | tuple[str, int], BeforeValidator(source_values.map_socket)]
    """Its address: `unix:PATH` or `inet:HOST:PORT`."""
    map: Annotated[str, BeforeValidator(values.text)]
    """The name of the map that is sent."""
    result: Result = "user"
    """What a value means: nothing but that there is the user, the path of the Maildir, or other addresses."""

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
    """A lookup table of Postfix."""
    table: Annotated[str, BeforeValidator(source_values.postfix_table)]
    """The table, as `TYPE:NAME`."""
    result: Result = "user"
    """What a value means: nothing but that there is the user, the path of the Maildir, or other addresses."""
    postmap: PathText = "/usr/sbin/postmap"
    """The program that asks it."""
    config_directory: PathText | None = None
    """Postfix's configuration, if it is another than the usual one."""


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
