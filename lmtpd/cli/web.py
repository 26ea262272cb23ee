"""`lmtpd web`: the history in a browser, read only, for this machine."""

import importlib
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from lmtpd.cli.failures import Failure
from lmtpd.cli.options import Settings, takes_settings
from lmtpd.cli.trace import facts
from lmtpd.config import values
from storage.history import HistoryError, HistorySlow

DEFAULT = "tcp:127.0.0.1:9825"
SHOWN = 50  # recipients found by one search
SEARCH_S = 2.0  # as Datasette's questions have
TOO_SLOW = (
    f"It was not found within {SEARCH_S:g} seconds: the machine is busy, or the question too wide. Ask for a"
    " queue id or a Message-ID, or take lmtpd trace on the command line, which has no limit."
)
INSTALL = "lmtpd web needs its extra: pipx install 'maildir-lmtpd[web]' (or pip install 'maildir-lmtpd[web]')"


@click.command()
@takes_settings
@click.option(
    "--on",
    "address",
    metavar="ADDRESS",
    default=DEFAULT,
    help=f"unix:PATH or tcp:HOST:PORT, of this machine only.  [{DEFAULT}]",
)
@click.option(
    "--host",
    "hosts",
    metavar="NAME",
    multiple=True,
    help="A name that a proxy here serves the page under (the browser's Host).  Repeatable.",
)
def web(settings: Settings, *, address: str, hosts: Sequence[str]) -> int:
    """Show the history in a browser: charts, a search that is `lmtpd trace`, and Datasette.

    Only reads, and asks nobody who he is: whoever reaches the address sees who wrote to whom. From another
    machine use ssh -L 9825:127.0.0.1:9825, or a proxy that asks for a password.

    \b
    Examples:
      lmtpd web
      lmtpd web --on unix:/run/lmtpd/web.sock
    """
    where = _parsed(address)
    try:
        application, serving = (
            importlib.import_module(f"lmtpd.web.{name}") for name in ("application", "serving")
        )
    except ModuleNotFoundError as exc:
        if (exc.name or "").split(".")[0] == "lmtpd":
            raise
        raise Failure(INSTALL, os.EX_UNAVAILABLE) from exc
    config = settings.load()

    def trace(query: str) -> list[Mapping[str, object]]:
        try:
            return [*facts(config, query, SHOWN, give_up_at=time.monotonic() + SEARCH_S)]
        except HistorySlow as exc:
            raise ValueError(TOO_SLOW) from exc
        except (Failure, HistoryError) as exc:
            raise ValueError(str(exc)) from exc

    try:
        listening = serving.listening_on(where)
    except OSError as exc:
        raise Failure(f"{address}: {exc.strerror or exc}", os.EX_CANTCREAT) from exc
    shown = address if isinstance(where, str) else f"http://{_host(where[0])}:{listening.getsockname()[1]}/"
    click.echo(f"lmtpd: the page is at {shown}", err=True)
    page = application.Page(Path(config.history_path), trace)
    serving.run(page.application(serving.hosts_of(listening, hosts)), listening)
    return os.EX_OK


def _parsed(address: str) -> str | tuple[str, int]:
    kind, _, rest = address.partition(":")
    if kind == "unix" and rest.startswith("/"):
        return rest
    if kind == "tcp":
        try:
            return values.loopback(rest)
        except ValueError as exc:
            raise click.UsageError(
                f"--on {address} {exc}: whoever reaches the page can read it, so only this machine may,"
                f" as with {DEFAULT}"
            ) from exc
    raise click.UsageError(f"--on {address} must be unix:/PATH or tcp:HOST:PORT, such as {DEFAULT}")


def _host(host: str) -> str:
    return f"[{host}]" if ":" in host else host
