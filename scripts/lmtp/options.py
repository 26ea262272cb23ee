"""The options of `lmtp-send`, in two groups: how the server is reached, and how it is judged."""

import functools
import os
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass

import click

from scripts.lmtp.checking import Limits
from scripts.lmtp.client import ServerAddress
from scripts.shell.failures import Failure

Function = Callable[..., int]

# A server may take so long for a message; lmtpd answers within 240 s, RFC 5321 4.5.3.2.6 wants ten minutes.
TIMEOUT_S = 300.0
# What monitoring systems grant a plugin.
CHECK_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Connection:
    """How the server is reached."""

    server: ServerAddress
    name: str  # ours, in LHLO
    timeout_s: float | None
    tls: ssl.SSLContext | None


def takes_connection(function: Function) -> Function:
    """Give a command the server and how to talk to it; it is called with a `Connection` first."""

    @functools.wraps(function)
    def command(
        *,
        server: str,
        starttls: bool,
        ca: str | None,
        insecure: bool,
        name: str | None,
        timeout_s: float | None,
        **others: object,
    ) -> int:
        try:
            address = ServerAddress.parse(server)
        except ValueError as exc:
            raise click.UsageError(f"{server!r} is no server: {exc}") from exc
        tls = _context(ca, insecure=insecure) if starttls else None
        return function(Connection(address, name or socket.gethostname(), timeout_s, tls), **others)

    for option in reversed(_CONNECTION):
        command = option(command)
    return command


def takes_check(function: Function) -> Function:
    """Give a command --check; it is called with `limits`, None unless it is to be a monitoring plugin."""

    @functools.wraps(function)
    def command(
        *arguments: object, check: bool, warning_s: float | None, critical_s: float | None, **others: object
    ) -> int:
        return function(*arguments, limits=Limits(warning_s, critical_s) if check else None, **others)

    for option in reversed(_CHECK):
        command = option(command)
    return command


def _context(ca: str | None, *, insecure: bool) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca)
    except OSError as exc:
        raise Failure(f"--ca {ca}: {exc.strerror or exc}", os.EX_NOINPUT) from exc
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


_CONNECTION = (
    click.argument("server", metavar="unix:PATH|tcp:HOST:PORT"),
    click.option("--starttls", is_flag=True, help="Go over to TLS, or send nothing."),
    click.option(
        "--ca",
        metavar="FILE",
        type=click.Path(exists=True, dir_okay=False),
        help="Who may have signed the server's certificate.  [the system's authorities]",
    ),
    click.option("--insecure", is_flag=True, help="Believe any certificate."),
    click.option("--lhlo", "name", metavar="NAME", help="What to call oneself.  [the machine's name]"),
    click.option(
        "--timeout",
        "timeout_s",
        metavar="SECONDS",
        type=click.FloatRange(0, min_open=True),
        help=f"How long a reply is waited for.  [{TIMEOUT_S:g}; with --check {CHECK_TIMEOUT_S:g}]",
    ),
)
_CHECK = (
    click.option(
        "--check",
        is_flag=True,
        help="Be a monitoring plugin: one line with figures, exit code 0 OK, 1 WARNING, 2 CRITICAL, "
        "3 UNKNOWN.",
    ),
    click.option(
        "--warning",
        "warning_s",
        metavar="SECONDS",
        type=click.FloatRange(0),
        help="With --check: WARNING from so many seconds on.",
    ),
    click.option(
        "--critical", "critical_s", metavar="SECONDS", type=click.FloatRange(0), help="The same for CRITICAL."
    ),
)
