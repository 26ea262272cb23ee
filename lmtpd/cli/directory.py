"""From a configuration to the recipient sources, in their order."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from lmtpd.config import Config
from lmtpd.config.domains import Domain
from lmtpd.config.recipients import AskedSource as AskedSettings
from lmtpd.config.recipients import (
    FileSource,
    LdapSource,
    MaildirsSource,
    PasswdSource,
    PostfixSource,
    RemoteSource,
    SocketmapSource,
    SqlSource,
)
from lmtpd.protocol.addresses import Address
from lmtpd.recipients.answers import Answers
from lmtpd.recipients.asked import AskedSource
from lmtpd.recipients.directory import Directory, Source
from lmtpd.recipients.entry import read_address
from lmtpd.recipients.file import FileLookup
from lmtpd.recipients.lookup import Lookup
from lmtpd.recipients.maildirs import MaildirSource
from lmtpd.recipients.passwd import PasswdLookup
from lmtpd.recipients.passwd_file import parse_passwd_file
from lmtpd.recipients.patience import Patience
from lmtpd.recipients.placement import Placement
from lmtpd.recipients.postfix_table import PostfixLookup
from lmtpd.recipients.query import Query
from lmtpd.recipients.rules import Detail, MaildirRules
from lmtpd.recipients.socketmap import SocketmapLookup
from lmtpd.recipients.sql import SqlLookup
from lmtpd.recipients.sqlite import SqliteDatabase
from lmtpd.recipients.table import AliasTable
from lmtpd.recipients.table_keys import Result
from lmtpd.recipients.toml_file import parse_toml_file
from storage.disk import Disk
from storage.folders import FolderNames, Layout


def build_directory(config: Config, disk: Disk) -> Directory:
    """The aliases of the file, then the recipient sources in their order."""
    rules = _site_rules(config)
    domains = {
        name: _domain_rules(rules, domain)
        for name, domain in config.domains.items()
        if domain.same_as is None
    }
    sources: list[Source] = []
    if config.aliases:
        sources.append(AliasTable({alias: _addresses(to) for alias, to in config.aliases.items()}, rules))
    for settings in config.recipients:
        if isinstance(settings, MaildirsSource):
            sources.append(MaildirSource(disk, rules, domains))
        elif isinstance(settings, AskedSettings):
            sources.append(_asked(settings, config, disk=disk, rules=rules, domains=domains))
    return Directory(
        sources,
        postmaster=read_address(config.postmaster),
        same_as={name: each.same_as for name, each in config.domains.items() if each.same_as is not None},
        catch_all={
            name: _addresses(each.catch_all) for name, each in config.domains.items() if each.catch_all
        },
    )


def _asked(
    settings: AskedSettings,
    config: Config,
    *,
    disk: Disk,
    rules: MaildirRules,
    domains: Mapping[str, MaildirRules],
) -> AskedSource:
    answers = patience = None
    if isinstance(settings, RemoteSource):
        patience = Patience(at_once=settings.connections, wait_s=settings.timeout_s)
        if settings.cache_entries:
            answers = Answers(
                entries=settings.cache_entries, known_s=settings.cache_s, unknown_s=settings.cache_unknown_s
            )
    path = settings.path.text if settings.path is not None else None
    return AskedSource(
        build_lookup(settings, config),
        Placement(disk, rules, domains, path=path, create=settings.create),
        answers=answers,
        patience=patience,
        domains=frozenset(settings.domains),
    )


def build_lookup(settings: AskedSettings, config: Config) -> Lookup:
    """What one `[[recipients]]` table asks. Opens nothing yet."""
    match settings:
        case PasswdSource():
            return PasswdLookup(first_uid=settings.first_uid)
        case FileSource():
            parse = parse_toml_file if settings.format == "toml" else parse_passwd_file
            return FileLookup(settings.file, partial(parse, fold_case=config.mailboxes.fold_case))
        case SqlSource():
            return _sql(settings)
        case LdapSource():
            return _ldap(settings)
        case SocketmapSource():
            result, timeout_s = Result(settings.result), settings.timeout_s
            return SocketmapLookup(settings.socket, settings.map, result=result, timeout_s=timeout_s)
        case PostfixSource():
            return PostfixLookup(
                settings.table,
                result=Result(settings.result),
                timeout_s=settings.timeout_s,
                command=settings.postmap,
                config_directory=settings.config_directory,
            )
        case _:
            raise TypeError(settings)


def _sql(settings: SqlSource) -> Lookup:
    query = Query.parse(settings.query)
    if settings.url.startswith("sqlite:"):
        path = settings.url.removeprefix("sqlite://")
        sqlite = SqliteDatabase(path, query, timeout_s=settings.timeout_s)
        return SqlLookup(sqlite, query, settings.columns, iterate=settings.iterate_query)
    from lmtpd.recipients.postgresql import PostgresqlDatabase  # noqa: PLC0415 an extra that few sites install

    postgresql = PostgresqlDatabase(settings.url, query, timeout_s=settings.timeout_s)
    return SqlLookup(postgresql, query, settings.columns, iterate=settings.iterate_query)


def _ldap(settings: LdapSource) -> Lookup:
    from lmtpd.recipients.ldap import LdapLookup, LdapSettings  # noqa: PLC0415 an extra that few sites install

    return LdapLookup(
        LdapSettings(
            url=settings.url,
            starttls=settings.starttls,
            ca_file=settings.ca_file,
            bind_dn=settings.bind_dn,
            bind_password_file=settings.bind_password_file,
            base=settings.base,
            scope=settings.scope,
            filter=settings.filter,
            attributes=settings.attributes,
            timeout_s=settings.timeout_s,
            iterate_filter=settings.iterate_filter,
            iterate_attribute=settings.iterate_attribute,
        )
    )


def _site_rules(config: Config) -> MaildirRules:
    mailboxes = config.mailboxes
    return MaildirRules(
        template=mailboxes.path.text if mailboxes.path is not None else None,
        create=mailboxes.create,
        layout=Layout(mailboxes.layout),
        detail=Detail(mailboxes.detail),
        delimiters=mailboxes.delimiters,
        fold_case=mailboxes.fold_case,
        names=FolderNames(mailboxes.folder_names),
        levels=mailboxes.folder_levels,
        subscribe=mailboxes.subscribe,
    )


def _domain_rules(site: MaildirRules, domain: Domain) -> MaildirRules:
    return replace(
        site,
        template=site.template if domain.path is None else domain.path.text,
        create=site.create if domain.create is None else domain.create,
        layout=site.layout if domain.layout is None else Layout(domain.layout),
        detail=site.detail if domain.detail is None else Detail(domain.detail),
        names=site.names if domain.folder_names is None else FolderNames(domain.folder_names),
        levels=domain.folder_levels or site.levels,
        subscribe=site.subscribe if domain.subscribe is None else domain.subscribe,
        quota=domain.quota,
    )


def _addresses(texts: tuple[str, ...]) -> tuple[Address, ...]:
    return tuple(map(read_address, texts))
