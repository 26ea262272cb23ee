"""What can never work in sources, aliases, domains, quotas and owners, though each value is allowed.

`lmtpd check` says it. A server that runs with such a mistake goes on serving whom it does not concern.
"""

import os
from collections.abc import Iterator

from lmtpd.config.places import KeyPath
from lmtpd.config.problems import Finding
from lmtpd.config.recipients import (
    AskedSource,
    FileSource,
    MaildirsSource,
    PasswdSource,
    PostfixSource,
    SqlSource,
)
from lmtpd.config.schema import Config
from lmtpd.config.socket_checks import socket_mistakes

_DEFAULT_UID = PasswdSource.model_fields["first_uid"].default


def mistakes(config: Config) -> Iterator[Finding]:
    """Find them all."""
    yield from socket_mistakes(config)
    for index in range(len(config.recipients)):
        yield from _source(config, index)
    yield from _aliases(config)
    yield from _directories(config)
    if config.acts_as_recipients:
        yield from _owners(config)


def _source(config: Config, index: int) -> Iterator[Finding]:
    source, here = config.recipients[index], ("recipients", index)
    if isinstance(source, AskedSource):
        yield from _domains_asked(config, (*here, "domains"), source.domains)
    match source:
        case SqlSource():
            columns = list(source.columns.values())
            for column in sorted({each for each in columns if columns.count(each) > 1}):
                message = f'names the column "{column}" twice: each stands for one field'
                yield Finding((*here, "columns"), message, dict(source.columns))
        case PostfixSource(config_directory=directory, postmap=postmap):
            if directory is not None and not os.path.isdir(directory):
                yield Finding((*here, "config_directory"), "there is no such directory", directory)
            if os.path.isfile(postmap) and not os.access(postmap, os.X_OK):
                yield Finding((*here, "postmap"), "is not a program that can be run", postmap)
        case FileSource():
            others = [each for each in config.recipients[:index] if isinstance(each, FileSource)]
            if any(each.file == source.file and each != source for each in others):
                yield Finding((*here, "file"), "is read by a source above: name it once", source.file)


def _domains_asked(config: Config, key: KeyPath, domains: tuple[str, ...]) -> Iterator[Finding]:
    for position, domain in enumerate(domains):
        if domain in domains[:position]:
            yield Finding(key, f"names {domain} twice", list(domains))
        if (meant := _same_as(config, domain)) is not None:
            message = f"{domain} is never asked for, being the same as {meant}: write {meant}"
            yield Finding(key, message, list(domains))


def _same_as(config: Config, domain: str) -> str | None:
    return config.domains[domain].same_as if domain in config.domains else None


def _aliases(config: Config) -> Iterator[Finding]:
    seen: dict[str, str] = {}
    for alias in config.aliases:
        local, _, domain = alias.rpartition("@")
        folded = f"{local.lower()}@{domain}" if config.mailboxes.fold_case else alias
        if (first := seen.setdefault(folded, alias)) != alias:
            yield Finding(("aliases", alias), f'is the same address as "{first}"; mailboxes.fold_case is on')
        if (meant := _same_as(config, domain)) is not None:
            yield Finding(
                ("aliases", alias),
                f"is never looked for: {domain} is the same as {meant}, so write {local}@{meant}",
            )


def _directories(config: Config) -> Iterator[Finding]:
    command = config.quota.warning_command
    if command is not None and os.path.isdir(command):
        yield Finding(("quota", "warning_command"), "is a directory, and must be a program", command)


def _owners(config: Config) -> Iterator[Finding]:
    for name, domain in config.domains.items():
        if domain.create and any(isinstance(each, MaildirsSource) for each in config.recipients):
            yield Finding(
                ("domains", name, "create"),
                'cannot be combined with server.run_as = "recipient" and the recipient source "maildirs":'
                " nobody knows whose a missing Maildir would be; make them with maildir-make --owner",
                value=True,
            )
    for index, source in enumerate(config.recipients):
        if isinstance(source, PasswdSource) and _DEFAULT_UID != source.first_uid < config.owners.first_uid:
            yield Finding(
                ("recipients", index, "first_uid"),
                f"must be {config.owners.first_uid} (owners.first_uid) or more: nobody below it gets mail",
                source.first_uid,
            )
    for position, group in enumerate(config.owners.groups):
        if group in config.owners.groups[:position]:
            yield Finding(("owners", "groups"), f"names {group} twice", list(config.owners.groups))
