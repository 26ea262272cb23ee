"""What does not go together in recipient sources, domains and aliases."""

import os
from collections.abc import Iterator

from lmtpd.config.problems import Finding
from lmtpd.config.recipients import FileSource, MaildirsSource
from lmtpd.config.schema import Config


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
        if isinstance(source, FileSource) and not os.path.isfile(source.file):
            yield Finding(("recipients", index, "file"), "there is no such file", source.file)


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
