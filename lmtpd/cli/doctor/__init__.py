"""`lmtpd doctor`: what is wrong around the server, and the lines that mend it."""

import json
import os
from collections.abc import Iterator
from dataclasses import asdict

import click

from lmtpd.cli.doctor.delivery import check_delivery
from lmtpd.cli.doctor.findings import Finding
from lmtpd.cli.doctor.machine import check_machine
from lmtpd.cli.doctor.mailboxes import check_mailboxes
from lmtpd.cli.doctor.postfix import Postfix, PostfixUnreadable, read_postfix
from lmtpd.cli.doctor.process import check_process, server_uid
from lmtpd.cli.doctor.reach import check_reach
from lmtpd.cli.doctor.state import check_state, newest_at
from lmtpd.cli.failures import Failure
from lmtpd.cli.health import Health
from lmtpd.cli.options import Settings, as_json, takes_settings
from lmtpd.config import Config, Need

__all__ = ["doctor"]


@click.command()
@takes_settings
@click.option("--postfix-config", metavar="DIR", help="Postfix's configuration directory.  [postconf's own]")
@as_json
def doctor(settings: Settings, *, postfix_config: str | None, as_json: bool) -> int:
    """Look for what is wrong around the server, and print the line that mends it.

    Reads Postfix's configuration and ours, talks to the server as user postfix without leaving a message, and
    looks at sockets, file systems, clock, mailboxes and ledger.  Run it as root: others do not see all of it.

    Exit codes as monitoring knows them: 0 nothing was found, 1 warning, 2 critical.

    \b
    Examples:
      lmtpd doctor --config /etc/lmtpd/lmtpd.toml
      lmtpd doctor --config /etc/lmtpd/lmtpd.toml --postfix-config /etc/postfix-in --json
    """
    config = settings.load(Need.MAILBOXES)
    try:
        postfix = read_postfix(postfix_config)
    except PostfixUnreadable as exc:
        raise Failure(f"postconf: {exc}", os.EX_CONFIG) from exc
    found = sorted(_examine(config, postfix), key=lambda finding: -finding.health)
    notes = list(_notes(config, postfix))
    if as_json:
        told = [{**asdict(each), "health": each.health.name.lower()} for each in found]
        click.echo(json.dumps({"findings": told, "notes": notes}, indent=2))
    else:
        click.echo("\n".join(_lines(found, notes)))
    return max((finding.health for finding in found), default=Health.OK)


def _examine(config: Config, postfix: Postfix | None) -> Iterator[Finding]:
    uid = server_uid(config)
    if postfix is not None:
        yield from check_delivery(config, postfix)
    yield from check_reach(config, postfix)
    yield from check_process(config)
    yield from check_state(config, uid)
    yield from check_machine(config, newest_at(config))
    yield from check_mailboxes(config, uid)


def _notes(config: Config, postfix: Postfix | None) -> Iterator[str]:
    if not config.listen and postfix is not None and any(postfix.routes()):
        yield "the configuration has no [[listen]]: the sockets that Postfix is told to use were talked to"
    elif not config.listen:
        yield "the configuration has no [[listen]], and no route of Postfix is known: no socket was talked to"
    if postfix is None:
        yield "there is no postconf on this machine: Postfix was not looked at"
    elif postfix.get("transport_maps"):
        yield "transport_maps were not read: a route in them is not looked at"
    if os.geteuid() != 0:
        yield "not run as root: the server was not talked to as postfix, and other users' files were not seen"


def _lines(found: list[Finding], notes: list[str]) -> Iterator[str]:
    for finding in found:
        yield f"{finding.health.name:<9} {finding.key}: {finding.problem}"
        yield f"          mend: {finding.mend}"
    if not found:
        yield "OK        nothing was found"
    if any(finding.mend.startswith("postconf ") for finding in found):
        yield "Behind postconf: postfix reload"
    yield from (f"note: {note}" for note in notes)
