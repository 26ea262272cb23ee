# Long because every key of the file stands here with what it means.
"""The configuration as frozen types: one class for each table of the file, one field for each key.

The file's keys are the fields, so what is not here cannot be set.  After `load` every value is parsed
and inside its limits; code on the hot path reads plain attributes.  A limit's comment gives its reason;
the text below a key is what the reference shows.
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
from lmtpd.config.events import Events
from lmtpd.config.limits import Limits
from lmtpd.config.origins import Origins
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
    """The path of a unix socket to listen on."""
    owner: Annotated[str, BeforeValidator(values.user_name)] | None = None
    """The user that the socket belongs to; unset: whoever the server was started as."""
    group: Annotated[str, BeforeValidator(values.group_name)] | None = None
    """The group of the socket."""
    mode: Annotated[int, BeforeValidator(values.socket_mode)] = 0o660
    """The permission bits of the socket."""

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
    """An address to listen on; only programs that may deliver should reach it."""

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
    """The certificate, and those between it and the root, in a PEM file."""
    key: PathText
    """The private key of the certificate, in a PEM file."""


class Server(Section):
    """Processes, connections, and who we are."""

    workers: Annotated[int, values.whole(1, 256)] = 2
    """Processes; as many as the machine has cores is a good start."""
    # In all workers.  A thread costs some 100 KiB and a descriptor or two.
    connections: Annotated[int, values.whole(1, 100_000)] = 1000
    """Connections in all workers together; those above it are greeted and answered 451 for each recipient."""
    run_as: Annotated[str, BeforeValidator(values.run_as)] | None = None
    """The user who owns all mailboxes, or `"recipient"`: each delivery acts as the mailbox's owner.
    Both need a start as root. Unset: the server stays who started it.
    """
    # TCP peers whose XFORWARD is believed; unix sockets are always trusted.
    xforward_from: tuple[Annotated[values.Network, BeforeValidator(values.network)], ...] = ()
    """Networks of TCP clients whose XFORWARD is believed; unix sockets are always believed."""

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
    """The template of the Maildirs' paths, from `{user}`, `{domain}` and `{detail}`."""
    create: Switch = False
    """Make missing Maildirs; else an address whose Maildir is missing is an unknown user."""
    layout: Layout = "maildir++"
    """How folders lie in a Maildir: `.A.B` (`maildir++`) or `A/B` (`fs`)."""
    detail: Detail = "existing"
    """Where `user+detail` goes: to the inbox, to an existing folder of that name (else the inbox),
    or to a folder that is made.
    """
    folder_names: FolderNames = "utf-7"
    """How names of folders are written on the disk: modified UTF-7, as Dovecot does by default, or UTF-8."""
    # Of a folder that a detail names; as Dovecot at most.
    folder_levels: FolderLevels = 20
    """How deep a folder may be that a detail names; deeper ones go to the inbox."""
    subscribe: Switch = False
    """Enter folders that deliveries make in the list that mail readers show."""
    delimiters: Annotated[str, BeforeValidator(values.delimiters)] = "+"
    """The characters that begin a detail; `""`: there are no details."""
    fold_case: Switch = True
    """Whether `User@` and `user@` are one mailbox."""
    postmaster: Annotated[str, BeforeValidator(values.address)] | None = None
    """Where mail for `<Postmaster>` without a domain goes."""


class Delivery(Section):
    """The promises made to the client."""

    commit: Commit = "checked"
    """What is asked of the client before a message becomes visible: nothing, whether it is still
    there, also whether it sent RSET, or to wait for its QUIT or MAIL.
    """
    durability: Durability = "full"
    """`full`: file and directory are synced; `data`: the file only, and a power cut may lose the
    latest mail; `none`: nothing is synced.
    """
    duplicates: Duplicates = "unconfirmed"
    """Whether the retry of an unconfirmed delivery is recognised; `off`: it is stored again, and
    there is no ledger.
    """
    single_instance: SingleInstance = "off"
    """How copies of a message for several recipients share the disk: not at all, as hard links, or
    as shared blocks (XFS, btrfs).
    """
    # A message that names the mailbox in its Delivered-To; "deliver" is for what migrates.
    loops: Loops = "refuse"
    """What happens to a message whose header has this mailbox in a `Delivered-To`."""
    # From the dot to the last reply.  Postfix waits 600 s (lmtp_data_done_timeout) and then sends again.
    deadline_s: Annotated[int, values.whole(1, 540)] = 240
    """Seconds from the dot to the last reply; what is not ready by then is answered 451 and never
    published later.
    """


class Ledger(Section):
    """The record of deliveries that are not yet confirmed, and the history that `trace` reads."""

    url: Annotated[str, BeforeValidator(values.ledger_path)] | None = None
    """The SQLite file of the ledger; unset: `ledger.db` in `state`."""
    on_failure: OnFailure = "defer"
    """What to do while the ledger cannot be written: answer 451, or deliver and accept a possible
    duplicate.
    """
    history_days: Annotated[int, values.whole(1, 3650)] = 30
    """Days that `lmtpd trace` can look back."""
    # Some five million recipients; what comes behind takes the place of the oldest.
    history_octets: Annotated[int, values.whole(2**20, 2**50)] = 2**32
    """The size of the history at most, about; then the oldest rows go."""


class Metrics(Section):
    """Where the server's figures can be read, in the format of Prometheus; unless set, a unix socket."""

    serve: Switch = True
    """Show the metrics."""
    unix: Annotated[str, BeforeValidator(values.path)] | None = None
    """The unix socket that shows them; unset: `metrics.sock` in `state`."""
    mode: Annotated[int, BeforeValidator(values.socket_mode)] = 0o660
    """The permission bits of that socket."""
    # Nobody asks who reads them, so they do not leave the machine.
    tcp: Annotated[tuple[str, int], BeforeValidator(values.loopback)] | None = None
    """A port of the loopback interface that shows them instead."""

    def __str__(self) -> str:
        host, port = self.tcp or ("", 0)
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Log(Section):
    """How the log is written."""

    format: LogFormat = "text"
    """How lines are written: `key=value`, or a JSON object each."""
    target: LogTarget = "stderr"
    """Where they go: standard error with the time in front, or the same with syslog priorities for
    the journal.
    """


def _machine_name() -> str:
    return socket.gethostname()


class Config(Section):
    """The whole configuration.  Made by `load` only."""

    hostname: Annotated[str, BeforeValidator(values.hostname)] = Field(
        default_factory=_machine_name, validate_default=True
    )
    """Our name in the greeting, in Received fields and in file names."""
    state: PathText = "/var/lib/lmtpd"
    """The directory of the ledger, the history and the server's lock."""
    listen: tuple[Listener, ...] = ()
    """Tables of sockets for LMTP."""
    policy: tuple[Listener, ...] = ()
    """Tables of sockets for Postfix's policy delegation protocol."""
    socketmap: tuple[Listener, ...] = ()
    """Tables of sockets for Postfix's socketmap_table(5)."""
    tls: Tls | None = None
    """With a certificate and a key, TCP listeners offer STARTTLS."""
    server: Server = Server()
    """Processes, connections, and the user."""
    owners: Owners = Owners()
    """Whose rights deliveries may have, with `server.run_as = "recipient"`."""
    limits: Limits = Limits()
    """What one client may ask for, and what keeps a site alive."""
    mailboxes: Mailboxes = Mailboxes()
    """Where the Maildirs are."""
    recipients: tuple[RecipientSource, ...] = (MaildirsSource(),)
    """Tables of sources that know who receives; the first that knows an address answers."""
    domains: Mapping[str, Domain] = {}
    """What is different for one domain: a table for each."""
    aliases: Annotated[Mapping[str, tuple[str, ...]], BeforeValidator(source_values.aliases)] = {}
    """Addresses that stand for one other or several."""
    delivery: Delivery = Delivery()
    """The promises made to the client."""
    submission: Submission = Submission()
    """Where notices of our own go."""
    events: tuple[Events, ...] = ()
    """Tables of receivers that are told what happens."""
    quota: Quota = Quota()
    """What mailboxes may hold."""
    ledger: Ledger = Ledger()
    """The record by which retries are recognised, and the history."""
    log: Log = Log()
    """How the log is written."""
    metrics: Metrics = Metrics()
    """Where the server's figures can be read."""

    _file: Path | None = PrivateAttr(default=None)
    _sources: Mapping[str, str] = PrivateAttr(default_factory=dict)
    _origins: Origins = PrivateAttr(default=Origins())

    @property
    def file(self) -> Path | None:
        """The file it was read from, if any: what a change notice has to watch."""
        return self._file

    @property
    def sources(self) -> Mapping[str, str]:
        """Where each effective value comes from: "default", "FILE:LINE" or the flag."""
        return self._sources

    @property
    def origins(self) -> Origins:
        """What was written, and where: for what is found only when others are asked."""
        return self._origins

    def remember_origin(self, file: Path | None, sources: Mapping[str, str], origins: Origins) -> None:
        """Keep what `file`, `sources` and `origins` tell; called once, by `load`."""
        self._file, self._sources, self._origins = file, sources, origins

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
    def events_path(self) -> Path:
        """The SQLite file of events that wait for their receivers."""
        return Path(self.state, "events.db")

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
