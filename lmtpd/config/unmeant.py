"""What works but cannot be meant: settings without effect beside the others, and what is not so now.

`lmtpd check` warns of it; each remark has the key that it is about.
"""

import os
from collections.abc import Iterator, Set
from contextlib import suppress

from lmtpd.config.effective import effective
from lmtpd.config.keys import written
from lmtpd.config.places import KeyPath
from lmtpd.config.recipients import AskedSource, LdapSource, MaildirsSource, PasswdSource, RemoteSource
from lmtpd.config.schema import Config
from lmtpd.config.section import Section
from lmtpd.config.socket_checks import socket_warnings

_UNIX = "unix:"
_NONE = "means nothing: "


def unmeant(config: Config) -> Iterator[tuple[KeyPath, str]]:
    """Find them all."""
    yield from _relative_paths(config)
    yield from socket_warnings(config)
    yield from _quota(config)
    yield from _folders(config)
    yield from _limits(config)
    yield from _sources(config)
    if config.delivery.single_instance != "off" and config.limits.recipients == 1:
        yield ("delivery", "single_instance"), _NONE + "limits.recipients is 1, so no copies are equal"


def roots(config: Config) -> Iterator[tuple[KeyPath, str]]:
    """Yield the directories that Maildirs lie below, each once."""
    paths: dict[KeyPath, str] = {}
    if config.mailboxes.path is not None:
        paths["mailboxes", "path"] = config.mailboxes.path.root
    for name, domain in config.domains.items():
        if domain.path is not None:
            paths["domains", name, "path"] = domain.path.root
    for index, source in enumerate(config.recipients):
        if isinstance(source, AskedSource) and source.path is not None and source.path.root.startswith("/"):
            paths["recipients", index, "path"] = source.path.root
    seen = set()
    for path, root in paths.items():
        if root not in seen:
            seen.add(root)
            yield path, root


def _relative_paths(config: Config) -> Iterator[tuple[KeyPath, str]]:
    for path, value in effective(config):
        raw = _given(config.origins.tables, path)
        if isinstance(raw, str) and isinstance(value, str) and _is_of_file(config, path):
            text, meant = raw.removeprefix(_UNIX), value.removeprefix(_UNIX)
            if not text.startswith("/") and os.path.abspath(text) == meant:
                yield (
                    path,
                    f'"{raw}" counts from where the command is started, here {meant}: write it in full',
                )


def _is_of_file(config: Config, path: KeyPath) -> bool:
    return config.sources[written(path)].startswith(f"{config.file}:")


def _given(tables: object, path: KeyPath) -> object:
    for part in path:
        try:
            tables = tables[part]  # type: ignore[index]  # what is no table raises, as what is not there
        except (KeyError, IndexError, TypeError):
            return None
    return tables


def _quota(config: Config) -> Iterator[tuple[KeyPath, str]]:
    quota = config.quota
    if list(quota.warnings) != sorted(quota.warnings):
        right = ", ".join(f'"{each}%"' for each in sorted(quota.warnings))
        yield ("quota", "warnings"), f"are told in rising order: write [{right}]"
    if quota.default or any(domain.quota for domain in config.domains.values()):
        return
    if not all(isinstance(each, MaildirsSource | PasswdSource) for each in config.recipients):
        return  # they may know limits of their own
    for name in _changed(quota, set(type(quota).model_fields) - {"default"}):
        yield ("quota", name), _NONE + "no mailbox has a limit; quota.default is not set"


def _folders(config: Config) -> Iterator[tuple[KeyPath, str]]:
    mailboxes = config.mailboxes
    if mailboxes.detail == "create" and not mailboxes.delimiters:
        yield ("mailboxes", "detail"), _NONE + "mailboxes.delimiters is empty, so no address has a detail"
    if not all(isinstance(each, MaildirsSource | PasswdSource) for each in config.recipients):
        return  # they may know wishes of their users
    makes = [mailboxes.detail, *(each.detail for each in config.domains.values())]
    if mailboxes.subscribe and "create" not in makes:
        yield ("mailboxes", "subscribe"), _NONE + 'nothing makes folders; mailboxes.detail is not "create"'
    for name, domain in config.domains.items():
        if domain.subscribe and (domain.detail or mailboxes.detail) != "create":
            yield (
                ("domains", name, "subscribe"),
                _NONE + 'nothing makes folders; detail is not "create" there',
            )


def _limits(config: Config) -> Iterator[tuple[KeyPath, str]]:
    limits = config.limits
    for name, switch in (
        ("mailbox_slow_s", "mailbox_concurrency"),
        ("file_system_pause_s", "file_system_faults"),
    ):
        if _changed(limits, {name}) and getattr(limits, switch) == 0:
            yield ("limits", name), _NONE + f"limits.{switch} is 0"
    if limits.mailbox_slow_s >= config.delivery.deadline_s:
        yield (
            ("limits", "mailbox_slow_s"),
            f"is never reached: delivery.deadline_s = {config.delivery.deadline_s} ends a delivery before",
        )
    for _, root in roots(config):
        with suppress(OSError):
            disk = os.statvfs(root)
            free = disk.f_bavail * disk.f_frsize
            for name, wanted, there in (
                ("free_octets", limits.free_octets, free),
                ("free_percent", limits.free_percent, 100 * disk.f_bavail // max(disk.f_blocks, 1)),
                ("free_inodes", limits.free_inodes, disk.f_favail if disk.f_files else limits.free_inodes),
            ):
                if wanted > there:
                    yield (
                        ("limits", name),
                        f"mail is deferred now: below {root} there are {there}, not {wanted}",
                    )


def _speaks_tls(source: LdapSource) -> bool:
    return source.starttls or source.url.startswith("ldaps:")


def _sources(config: Config) -> Iterator[tuple[KeyPath, str]]:
    for index, source in enumerate(config.recipients):
        here = ("recipients", index)
        if isinstance(source, RemoteSource) and source.cache_entries == 0:
            for name in _changed(source, {"cache_s", "cache_unknown_s"}):
                yield (*here, name), _NONE + "cache_entries is 0"
        if isinstance(source, LdapSource) and source.ca_file is not None and not _speaks_tls(source):
            yield (*here, "ca_file"), _NONE + "no TLS is spoken: take ldaps://, or starttls = true"
    site = ("mailboxes", "path")
    for path, root in roots(config):
        if path != site and not os.path.isdir(root):
            yield path, f"the directory {root} does not exist"


def _changed(section: Section, names: Set[str]) -> list[str]:
    """Return those of the names whose values are not the default: what `check` prints has them all."""
    fields = type(section).model_fields
    return sorted(name for name in names if getattr(section, name) != fields[name].default)
