"""What only shows when keys are looked at together, or at the machine they are meant for."""

import os
import pwd
import ssl
from collections.abc import Iterator, Set
from contextlib import suppress
from enum import Enum
from itertools import combinations

from lmtpd.config.event_checks import check_events, event_warnings
from lmtpd.config.keys import LISTENERS
from lmtpd.config.problems import Finding
from lmtpd.config.recipient_checks import check_recipients, check_sources, needs_site_path, recipient_warnings
from lmtpd.config.schema import Config, TcpListener, UnixListener
from lmtpd.config.submission_checks import check_submission
from lmtpd.config.values import RECIPIENT

# Postfix's default; an instance elsewhere is recognised by what lies in its queue directory.
POSTFIX_QUEUE = "/var/spool/postfix"
_POSTFIX_QUEUES = ("active", "deferred", "incoming", "private")


class Need(Enum):
    """What a command cannot do without."""

    LISTENER = "listener"
    MAILBOXES = "mailboxes"
    PRIVILEGES = (
        "privileges"  # to become server.run_as, to read the key: an administrator's `trace` has neither
    )


def check(config: Config, needs: Set[Need]) -> Iterator[Finding]:
    """Find what is missing or does not go together."""
    if Need.LISTENER in needs and not config.listen:
        yield Finding(
            ("listen",),
            "there is nothing to listen on: give --listen unix:PATH or --listen tcp:HOST:PORT,"
            ' or write [[listen]] and below it unix = "PATH" or tcp = "HOST:PORT" in the file',
        )
    if Need.MAILBOXES in needs and config.mailboxes.path is None and needs_site_path(config):
        yield Finding(
            ("mailboxes", "path"),
            "is missing: give --mailboxes '/srv/mail/{domain}/{user}',"
            ' or write path = "/srv/mail/{domain}/{user}" below [mailboxes] in the file',
        )
    yield from _listeners(config)
    yield from _server(config)
    yield from _quota(config)
    yield from check_submission(
        config.submission,
        {str(each).removeprefix("tcp:") for each in config.sockets if isinstance(each, TcpListener)},
    )
    yield from check_events(config, here=Need.PRIVILEGES in needs)
    yield from _metrics(config)
    yield from check_recipients(config)
    if Need.MAILBOXES in needs:
        yield from check_sources(config)
    if Need.PRIVILEGES in needs:
        yield from _run_as(config)
        yield from _quota_command(config)
        yield from _tls(config)


def warnings(config: Config) -> Iterator[str]:
    """Say what works but may not be meant."""
    if config.delivery.commit == "hold":
        yield (
            "delivery.commit = hold: mail is lost when a client closes a connection without QUIT behind it;"
            " Postfix does so with cached connections"
        )
    if config.delivery.durability != "full":
        yield (
            f"delivery.durability = {config.delivery.durability}:"
            " a power cut can lose mail that was answered 250"
        )
    if config.tls and config.listen and not any(isinstance(each, TcpListener) for each in config.listen):
        yield "tls: no TCP listener offers it; unix sockets need none"
    if config.mailboxes.path and not os.path.isdir(config.mailboxes.path.root):
        yield f"mailboxes.path: the directory {config.mailboxes.path.root} does not exist"
    yield from recipient_warnings(config)
    yield from _limits(config)
    yield from event_warnings(config)
    if config.owners.model_fields_set and not config.acts_as_recipients:
        yield 'owners: means nothing unless server.run_as is "recipient"'
    if os.geteuid() == 0 and config.server.run_as is None:
        yield 'server.run_as is not set: the server stays root; name the owner of the mailboxes, say "vmail"'


def below_postfix_queue(path: str) -> bool:
    """Tell whether a path lies in a Postfix queue directory: the usual one or one with its contents."""
    directory = os.path.realpath(os.path.dirname(path))
    if directory == POSTFIX_QUEUE or directory.startswith(POSTFIX_QUEUE + "/"):
        return True
    while directory != "/":
        if all(os.path.isdir(os.path.join(directory, queue)) for queue in _POSTFIX_QUEUES):
            return True
        directory = os.path.dirname(directory)
    return False


def _limits(config: Config) -> Iterator[str]:
    limits = config.limits
    is_meant = config.sources.get("limits.mailbox_concurrency") != "default"
    if is_meant and limits.mailbox_concurrency >= config.server.connections:
        yield (
            f"limits.mailbox_concurrency = {limits.mailbox_concurrency}: is never reached with"
            f" server.connections = {config.server.connections}"
        )
    if config.mailboxes.path is None or not (limits.free_octets or limits.free_inodes):
        return
    with suppress(OSError):
        whole = os.statvfs(config.mailboxes.path.root)
        for name, wanted, there in (
            ("free_octets", limits.free_octets, whole.f_blocks * whole.f_frsize),
            ("free_inodes", limits.free_inodes, whole.f_files or limits.free_inodes),
        ):
            if wanted > there:
                yield (
                    f"limits.{name} = {wanted}: all mail is deferred, since the file system of"
                    f" {config.mailboxes.path.root} has {there} in all"
                )


def _listeners(config: Config) -> Iterator[Finding]:
    listed = [
        ((name, index), listener)
        for name in LISTENERS
        for index, listener in enumerate(getattr(config, name))
    ]
    for (_, one), (path, other) in combinations(listed, 2):
        if str(one) == str(other):
            yield Finding(path, f"{other} is listed twice")
    if config.delivery.commit == "hold":
        for listener in config.listen:
            if isinstance(listener, UnixListener) and below_postfix_queue(listener.unix):
                yield Finding(
                    ("delivery", "commit"),
                    f"cannot be combined with the listener {listener} in Postfix's queue directory:"
                    " Postfix closes cached connections without QUIT, so mail that was answered 250 is lost",
                    "hold",
                    judged_by=(("listen",),),
                )


def _metrics(config: Config) -> Iterator[Finding]:
    if config.metrics.tcp is not None and config.metrics.unix is not None:
        yield Finding(
            ("metrics", "tcp"),
            "cannot be combined with metrics.unix: the figures are shown in one place",
            str(config.metrics),
            judged_by=(("metrics", "unix"),),
        )


def _server(config: Config) -> Iterator[Finding]:
    if config.server.connections < config.server.workers:
        yield Finding(
            ("server", "connections"),
            f"must be at least one for each of the {config.server.workers} workers",
            config.server.connections,
            judged_by=(("server", "workers"),),
        )
    if os.path.lexists(config.state) and not os.path.isdir(config.state):
        yield Finding(("state",), "is not a directory", config.state)


def _quota(config: Config) -> Iterator[Finding]:
    folders = [each.folder for each in config.quota.folders]
    for index, folder in enumerate(folders):
        if folder in folders[:index]:
            yield Finding(("quota", "folders", index), "has a rule already", folder)
    for index, percent in enumerate(config.quota.warnings):
        if percent in config.quota.warnings[:index]:
            yield Finding(("quota", "warnings", index), "is listed twice", f"{percent}%")


def _quota_command(config: Config) -> Iterator[Finding]:
    command = config.quota.warning_command
    if command is not None and not os.access(command, os.X_OK):
        yield Finding(("quota", "warning_command"), "is not a program that can be run", command)
    if command is not None and not config.quota.warnings:
        yield Finding(("quota", "warning_command"), "is never run: quota.warnings is empty", command)


def _run_as(config: Config) -> Iterator[Finding]:
    name = config.server.run_as
    if config.acts_as_recipients:
        yield from _owners(config)
    elif name is not None and os.geteuid() not in (0, pwd.getpwnam(name).pw_uid):
        yield Finding(
            ("server", "run_as"),
            "only root can become another user: start the server as root, or as this user",
            name,
        )


def _owners(config: Config) -> Iterator[Finding]:
    if os.geteuid() != 0:
        yield Finding(
            ("server", "run_as"),
            "only root can act as each recipient: start the server as root, or name one user",
            RECIPIENT,
        )
    if config.mailboxes.create and any(each.source == "maildirs" for each in config.recipients):
        yield Finding(
            ("mailboxes", "create"),
            'cannot be combined with server.run_as = "recipient" and the recipient source "maildirs": nobody'
            " knows whose a missing Maildir would be; make them with maildir-make --owner",
            value=True,
            judged_by=(("server", "run_as"),),
        )
    if 0 in config.owners.gids:
        yield Finding(("owners", "groups"), "must not contain root's group", list(config.owners.groups))


def _tls(config: Config) -> Iterator[Finding]:
    if config.tls is None:
        return
    cert, key = config.tls.cert, config.tls.key
    unreadable = [
        Finding(("tls", name), f"cannot be read: {why}", path)
        for name, path in (("cert", cert), ("key", key))
        if (why := _why_unreadable(path))
    ]
    if unreadable:
        yield from unreadable
        return
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # A server has nobody to ask for a passphrase; OpenSSL would ask the terminal.
        context.load_cert_chain(cert, key, password=lambda: b"")
    except OSError as exc:  # ssl.SSLError is one; its strerror speaks of source lines
        reason = (getattr(exc, "reason", None) or exc.strerror or "not PEM").replace("_", " ").lower()
        yield Finding(("tls", "cert"), f"cannot be used with the key {key}: {reason}", cert)


def _why_unreadable(path: str) -> str:
    try:
        with open(path, "rb"):
            return ""
    except OSError as exc:
        return exc.strerror or str(exc)
