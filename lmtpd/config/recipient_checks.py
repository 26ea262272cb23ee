"""What does not go together in recipient sources, domains and aliases."""

import os
from collections.abc import Iterator
from importlib.util import find_spec

from lmtpd.config.problems import Finding
from lmtpd.config.recipients import FileSource, LdapSource, MaildirsSource, PostfixSource, SqlSource
from lmtpd.config.schema import Config
from lmtpd.config.section import Section


def needs_site_path(config: Config) -> bool:
    """Tell whether somebody's Maildir is where only `mailboxes.path` can say."""
    return any(isinstance(each, MaildirsSource) for each in config.recipients)


def check_recipients(config: Config) -> Iterator[Finding]:
    """Find what does not go together."""
    for index, source in enumerate(config.recipients):
        if source in config.recipients[:index]:
            yield Finding(("recipients", index), "is listed twice", source.source)
    for name, domain in config.domains.items():
        yield from _domain(config, name, same_as=domain.same_as, others=len(domain.model_fields_set))


def check_sources(config: Config) -> Iterator[Finding]:
    """Find sources that cannot be asked."""
    for index, source in enumerate(config.recipients):
        for key, path in _files(source):
            if not os.path.isfile(path):
                yield Finding(("recipients", index, key), "there is no such file", path)
        for key, module, extra in _extras(source):
            if find_spec(module) is None:
                yield Finding(
                    ("recipients", index, key),
                    f"needs {module}, which is not installed: pip install 'maildir-lmtpd[{extra}]'",
                )
        if isinstance(source, LdapSource):
            yield from _ldap(index, source)


def _files(source: Section) -> Iterator[tuple[str, str]]:
    match source:
        case FileSource():
            yield "file", source.file
        case SqlSource() if source.url.startswith("sqlite:"):
            yield "url", source.url.removeprefix("sqlite://")
        case LdapSource():
            for key in ("ca_file", "bind_password_file"):
                if (path := getattr(source, key)) is not None:
                    yield key, path
        case PostfixSource():
            yield "postmap", source.postmap
        case _:
            pass


def _extras(source: Section) -> Iterator[tuple[str, str, str]]:
    match source:
        case SqlSource() if not source.url.startswith("sqlite:"):
            yield "url", "psycopg", "postgresql"
        case LdapSource():
            yield "source", "ldap3", "ldap"
        case _:
            pass


def _ldap(index: int, source: LdapSource) -> Iterator[Finding]:
    if (source.bind_dn is None) != (source.bind_password_file is None):
        yield Finding(("recipients", index), "bind_dn and bind_password_file are given together, or neither")
    if source.starttls and not source.url.startswith("ldap:"):
        yield Finding(("recipients", index, "starttls"), f"cannot be combined with {source.url}", value=True)


def recipient_warnings(config: Config) -> Iterator[str]:
    """Say what works but may not be meant."""
    for index, source in enumerate(config.recipients[:-1]):
        if isinstance(source, MaildirsSource) and config.mailboxes.create:
            yield (
                f"recipients[{index}]: with mailboxes.create every address has a mailbox here:"
                " the sources behind it are asked for impossible names only"
            )
    for name, domain in config.domains.items():
        create = config.mailboxes.create if domain.create is None else domain.create
        if domain.catch_all and create and needs_site_path(config):
            yield f'domains."{name}".catch_all: with create = true no address is unknown'


def _domain(config: Config, name: str, *, same_as: str | None, others: int) -> Iterator[Finding]:
    here = ("domains", name)
    try:
        ascii_name = name.encode("idna").decode("ascii").lower() if name else ""
    except UnicodeError:
        ascii_name = ""
    if name != ascii_name:
        hint = f': write "{ascii_name}"' if ascii_name else ""
        yield Finding(here, f"must be a domain in lower case and in its ASCII form{hint}")
    if same_as is None:
        return
    if others > 1:
        yield Finding((*here, "same_as"), "stands alone: the settings of the other domain count", same_as)
    if same_as == name or (same_as in config.domains and config.domains[same_as].same_as is not None):
        yield Finding((*here, "same_as"), "must be a domain that is not itself the same as another", same_as)
