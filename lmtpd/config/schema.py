"""The configuration as frozen types: one class for each table of the file, one field for each key.

The file's keys are the fields, so what is not here cannot be set.  After `load` every value is parsed
and inside its limits; code on the hot path reads plain attributes.  A limit's comment gives its reason.
"""

import grp
import ipaddress
import os
import pwd
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, PrivateAttr, Tag

from lmtpd.config import source_values, values
from lmtpd.config.domains import Detail, Domain, FolderLevels, FolderNames, Layout
from lmtpd.config.limits import Limits
from lmtpd.config.owners import Owners
from lmtpd.config.quota import Quota
from lmtpd.config.recipients import MaildirsSource, RecipientSource
from lmtpd.config.section import PathText, Section, Switch
from lmtpd.config.submission import Submission
from lmtpd.config.template import Template, parse_template

LEAVE_AS_IS = -1  # for os.chown


# The words are those of the modules that act on them, which make their own types of them.
Commit = Annotated[
    Literal["immediate", "checked", "cancel", "hold"], values.choice("immediate", "checked", "cancel", "hold")
]
Durability = Annotated[Literal["full", "data", "none"], values.choice("full", "data", "none")]
Duplicates = Annotated[Literal["unconfirmed", "off"], values.choice("unconfirmed", "off")]
SingleInstance = Annotated[Literal["off", "link", "share"], values.choice("off", "link", "share")]
Loops = Annotated[Literal["refuse", "deliver"], values.choice("refuse", "deliver")]
OnFailure = Annotated[Literal["defer", "deliver"], values.choice("defer", "deliver")]
LogFormat = Annotated[Literal["text", "json"], values.choice("text", "json")]
LogTarget = Annotated[Literal["stderr", "journal"], values.choice("stderr", "journal")]


class UnixListener(Section):
    """A unix socket, its owner and mode; 0660 unless set, so that only its group may connect."""

    unix: Annotated[str, BeforeValidator(values.socket_path)]
    owner: Annotated[str, BeforeValidator(values.user_name)] | None = None
    group: Annotated[str, BeforeValidator(values.group_name)] | None = None
    mode: Annotated[int, BeforeValidator(values.socket_mode)] = 0o660

    @property
    def uid(self) -> int:
        """The owner's uid for os.chown; raises KeyError for a user that has gone since the start."""
        return LEAVE_AS_IS if self.owner is None else pwd.getpwnam(self.owner).pw_uid

    @property
    def gid(self) -> int:
        """The group's gid for os.chown; raises KeyError for a group that has gone since the start."""
        return LEAVE_AS_IS if self.group is None else grp.getgrnam(self.group).gr_gid

    def __str__(self) -> str:
        return f"unix:{self.unix}"


class TcpListener(Section):
    """A TCP address; the port is never 25 (RFC 2033 5)."""

    tcp: Annotated[tuple[str, int], BeforeValidator(values.host_and_port)]

    @property
    def host(self) -> str:
        """A name or an address, IPv6 without its brackets."""
        return self.tcp[0]

    @property
    def port(self) -> int:
        """0: the kernel chooses."""
        return self.tcp[1]

    def __str__(self) -> str:
        return f"tcp:[{self.host}]:{self.port}" if ":" in self.host else f"tcp:{self.host}:{self.port}"


def _kind_of_listener(value: Any) -> str | None:  # Any: whatever TOML holds here
    keys = value.keys() if isinstance(value, Mapping) else ()
    named = [kind for kind in ("unix", "tcp") if kind in keys]
    return named[0] if len(named) == 1 else None


Listener = Annotated[
    Annotated[UnixListener, Tag("unix")] | Annotated[TcpListener, Tag("tcp")],
    Discriminator(
        _kind_of_listener,
        custom_error_type="listener",
        custom_error_message='must be a table with either unix = "PATH" or tcp = "HOST:PORT"',
    ),
]


class Tls(Section):
    """Certificate and key in PEM files; with both, TCP listeners offer STARTTLS."""

    cert: PathText
    key: PathText


class Server(Section):
    """Processes, connections, and who we are."""

    workers: Annotated[int, values.whole(1, 256)] = 2
    # In all workers.  A thread costs some 100 KiB and a descriptor or two.
    connections: Annotated[int, values.whole(1, 100_000)] = 1000
    run_as: Annotated[str, BeforeValidator(values.run_as)] | None = None
    # TCP peers whose XFORWARD is believed; unix sockets are always trusted.
    xforward_from: tuple[Annotated[values.Network, BeforeValidator(values.network)], ...] = ()

    def trusts(self, address: str) -> bool:
        """Tell whether a TCP peer may say XFORWARD.  address is numeric, as from getpeername(2)."""
        # fe80::1%eth0 has its zone, and IPv4 on a dual-stack socket its ::ffff: in front.
        peer = ipaddress.ip_address(address.partition("%")[0])
        if isinstance(peer, ipaddress.IPv6Address) and peer.ipv4_mapped is not None:
            peer = peer.ipv4_mapped
        return any(peer in network for network in self.xforward_from)


class Mailboxes(Section):
    """Where the Maildirs are and how addresses become their names."""

    path: Annotated[Template, BeforeValidator(parse_template)] | None = None
    create: Switch = False
    layout: Layout = "maildir++"
    detail: Detail = "existing"
    folder_names: FolderNames = "utf-7"
    # Of a folder that a detail names; as Dovecot at most.
    folder_levels: FolderLevels = 20
    subscribe: Switch = False
    delimiters: Annotated[str, BeforeValidator(values.delimiters)] = "+"
    fold_case: Switch = True
    postmaster: Annotated[str, BeforeValidator(values.address)] | None = None


class Delivery(Section):
    """The promises made to the client."""

    commit: Commit = "checked"
    durability: Durability = "full"
    duplicates: Duplicates = "unconfirmed"
    single_instance: SingleInstance = "off"
    # A message that names the mailbox in its Delivered-To; "deliver" is for what migrates.
    loops: Loops = "refuse"
    # From the dot to the last reply.  Postfix waits 600 s (lmtp_data_done_timeout) and then sends again.
    deadline_s: Annotated[int, values.whole(1, 540)] = 240


class Ledger(Section):
    """The record of deliveries that are not yet confirmed, and the history that `trace` reads."""

    url: Annotated[str, BeforeValidator(values.ledger_path)] | None = None
    on_failure: OnFailure = "defer"
    history_days: Annotated[int, values.whole(1, 3650)] = 30
    # Some five million recipients; what comes behind takes the place of the oldest.
    history_octets: Annotated[int, values.whole(2**20, 2**50)] = 2**32


class Metrics(Section):
    """Where the server's figures can be read, in the format of Prometheus; unless set, a unix socket."""

    serve: Switch = True
    unix: Annotated[str, BeforeValidator(values.path)] | None = None
    mode: Annotated[int, BeforeValidator(values.socket_mode)] = 0o660
    # Nobody asks who reads them, so they do not leave the machine.
    tcp: Annotated[tuple[str, int], BeforeValidator(values.loopback)] | None = None

    def __str__(self) -> str:
        host, port = self.tcp or ("", 0)
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Log(Section):
    """How the log is written."""

    format: LogFormat = "text"
    target: LogTarget = "stderr"


def _machine_name() -> str:
    return socket.gethostname()


class Config(Section):
    """The whole configuration.  Made by `load` only."""

    hostname: Annotated[str, BeforeValidator(values.hostname)] = Field(
        default_factory=_machine_name, validate_default=True
    )
    state: PathText = "/var/lib/lmtpd"
    listen: tuple[Listener, ...] = ()
    policy: tuple[Listener, ...] = ()
    socketmap: tuple[Listener, ...] = ()
    tls: Tls | None = None
    server: Server = Server()
    owners: Owners = Owners()
    limits: Limits = Limits()
    mailboxes: Mailboxes = Mailboxes()
    recipients: tuple[RecipientSource, ...] = (MaildirsSource(),)
    domains: Mapping[str, Domain] = {}
    aliases: Annotated[Mapping[str, tuple[str, ...]], BeforeValidator(source_values.aliases)] = {}
    delivery: Delivery = Delivery()
    submission: Submission = Submission()
    quota: Quota = Quota()
    ledger: Ledger = Ledger()
    log: Log = Log()
    metrics: Metrics = Metrics()

    _file: Path | None = PrivateAttr(default=None)
    _sources: Mapping[str, str] = PrivateAttr(default_factory=dict)

    @property
    def file(self) -> Path | None:
        """The file it was read from, if any: what a change notice has to watch."""
        return self._file

    @property
    def sources(self) -> Mapping[str, str]:
        """Where each effective value comes from: "default", "FILE:LINE" or the flag."""
        return self._sources

    def remember_origin(self, file: Path | None, sources: Mapping[str, str]) -> None:
        """Keep what `file` and `sources` tell; called once, by `load`."""
        self._file, self._sources = file, sources

    @property
    def sockets(self) -> tuple[Listener, ...]:
        """All sockets that the server listens on, whatever is spoken there."""
        return (*self.listen, *self.policy, *self.socketmap)

    @property
    def template(self) -> Template:
        """The path of the Maildirs; only of a configuration that was loaded with Need.MAILBOXES."""
        assert self.mailboxes.path is not None
        return self.mailboxes.path

    @property
    def roots_to_make(self) -> Iterator[str]:
        """The directories above Maildirs that are made when they are missing."""
        if self.mailboxes.create and self.mailboxes.path is not None:
            yield self.mailboxes.path.root
        for domain in self.domains.values():
            create = self.mailboxes.create if domain.create is None else domain.create
            if create and domain.path is not None:
                yield domain.path.root

    @property
    def postmaster(self) -> str:
        """The address for `<Postmaster>` without a domain (RFC 5321 4.5.1)."""
        return self.mailboxes.postmaster or f"postmaster@{self.hostname}"

    @property
    def acts_as_recipients(self) -> bool:
        """Whether each delivery has the rights of the mailbox's owner, and the server stays root."""
        return self.server.run_as == values.RECIPIENT

    @property
    def ledger_path(self) -> Path:
        """The SQLite file of the ledger."""
        return Path(self.ledger.url or os.path.join(self.state, "ledger.db"))

    @property
    def quota_path(self) -> Path:
        """The SQLite file that knows which mailboxes are full, and since when."""
        return Path(self.state, "quota.db")

    @property
    def outbox_path(self) -> Path:
        """The SQLite file of notices that are owed."""
        return Path(self.state, "outbox.db")

    @property
    def metrics_address(self) -> str | tuple[str, int] | None:
        """The unix socket's path, or host and port; None: switched off."""
        if not self.metrics.serve:
            return None
        return self.metrics.tcp or self.metrics.unix or os.path.join(self.state, "metrics.sock")

    @property
    def history_path(self) -> Path:
        """The SQLite file of the history."""
        return Path(self.state, "history.db")
