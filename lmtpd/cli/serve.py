"""`lmtpd serve`: the server in the foreground."""

import os

import click

from lmtpd.cli.events import events_of
from lmtpd.cli.failures import Failure
from lmtpd.cli.options import Settings, takes_settings
from lmtpd.cli.wiring import build_service, expose
from lmtpd.config import Need, warnings
from lmtpd.report.records import Level
from lmtpd.report.reporter import Reporter
from lmtpd.server import handover, supervisor
from lmtpd.server.errors import CannotStart


@click.command()
@takes_settings
@click.option(
    "--listen",
    metavar="ADDRESS",
    multiple=True,
    help="unix:PATH or tcp:HOST:PORT.  Repeatable; replaces the listeners of the file.",
)
@click.option("--create", is_flag=True, help="Make missing Maildirs, instead of answering 550 5.1.1.")
@click.option("--workers", metavar="N", help="How many processes.  [2]")
def serve(settings: Settings) -> int:
    """Run the server in the foreground.

    SIGTERM finishes what clients have sent and exits 0; SIGHUP, or a change of the file, reloads; SIGUSR2
    lets the program as it is installed now take over.  Ready, and so told to systemd, once a connection gets
    its greeting.

    \b
    Examples:
      lmtpd serve --listen unix:/run/lmtpd.sock --mailboxes '/srv/mail/{domain}/{user}' --create
      lmtpd serve --config /etc/lmtpd/lmtpd.toml --set limits.recipients=100
    """
    needs = [Need.MAILBOXES, Need.PRIVILEGES]
    if not _has_sockets_from_systemd() and handover.VARIABLE not in os.environ:
        needs.append(Need.LISTENER)
    config = settings.load(*needs)
    reporter = Reporter(config.log.format, config.log.target)
    for warning in warnings(config):
        reporter.event(Level.WARNING, "configuration_warning", text=warning)
    try:
        return supervisor.run(
            config,
            lambda: settings.reload(*needs),
            build=build_service,
            reporter=reporter,
            expose=expose,
            send_events=events_of,
        )
    except CannotStart as exc:
        raise Failure(str(exc), exc.code) from exc


def _has_sockets_from_systemd() -> bool:
    """Tell whether sd_listen_fds(3) would find any; the server takes them and clears the variables."""
    return os.environ.get("LISTEN_PID") == str(os.getpid()) and os.environ.get("LISTEN_FDS", "0") != "0"
