"""`lmtpd init`: a configuration and systemd units for this host, and what Postfix is to be told."""

import os
import pwd
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import click

from lmtpd.cli.doctor.postfix import PostfixUnreadable, read_postfix
from lmtpd.cli.failures import ConfigFailure, Failure
from lmtpd.cli.init.files import CONFIG, Host, UnusableHost, files, main_cf
from lmtpd.config import ConfigError, Override, load

MAILBOXES = "/srv/mail/{domain}/{user}"
QUEUE = "/var/spool/postfix"
MODE = 0o644


@click.command()
@click.argument("directory", type=click.Path(file_okay=False), default="/")
@click.option(
    "--mailboxes", metavar="TEMPLATE", default=MAILBOXES, help=f"The Maildirs' path.  [{MAILBOXES}]"
)
@click.option("--user", default="vmail", metavar="USER", help="Who owns all mailboxes.  [vmail]")
@click.option(
    "--socket",
    metavar="PATH",
    help="Where Postfix connects to.  [private/lmtpd in Postfix's queue directory]",
)
@click.option(
    "--keep",
    "rules",
    metavar="FOLDER=LIMIT[,LIMIT]...",
    multiple=True,
    help="Expire mail every night, as maildir-expire does.  Repeatable.  [nothing is expired]",
)
@click.option("--web", is_flag=True, help="Write a unit for the page as well; it is not enabled.")
@click.option("--force", is_flag=True, help="Replace files that are there.")
@click.option("--dry-run", is_flag=True, help="Print the files, and write none.")
def init(  # Long because all its options are named here
    *,
    directory: str,
    mailboxes: str,
    user: str,
    socket: str | None,
    rules: tuple[str, ...],
    web: bool,
    force: bool,
    dry_run: bool,
) -> int:
    """Write a configuration and hardened systemd units, and print what is left to do.

    For a site where one system user owns all mailboxes.  The files are etc/lmtpd/lmtpd.toml and those in
    etc/systemd/system, below DIRECTORY, which is / unless told otherwise.  Nothing is started or enabled, and
    nothing of Postfix is changed.

    \b
    Examples:
      lmtpd init --dry-run
      lmtpd init --mailboxes '/var/vmail/{domain}/{user}' --user vmail --keep Trash=30d
      lmtpd init /tmp/look
    """
    queue = _queue()
    try:
        config = load(None, [Override("--mailboxes", mailboxes)])
        template = config.mailboxes.path
        assert template is not None  # it was just set
        host = Host.here(
            hostname=config.hostname,
            mailboxes=template.text,
            mail_root=template.root,
            user=user,
            socket=socket or f"{queue}/private/lmtpd",
            rules=rules,
        )
        host = replace(host, web=web)
    except ConfigError as exc:
        raise ConfigFailure(exc, os.EX_USAGE) from exc
    except UnusableHost as exc:
        raise Failure(str(exc), os.EX_USAGE) from exc
    made = {Path(directory, path): text for path, text in files(host).items()}
    if dry_run:
        for path, text in made.items():
            click.echo(f"# {path}\n{text}")
    else:
        _write(made, may_replace=force)
    click.echo(_left_to_do(host, queue))
    return os.EX_OK


def _queue() -> str:
    with suppress(PostfixUnreadable):
        postfix = read_postfix(None)
        if postfix is not None:
            return postfix.queue
    return QUEUE


def _write(made: dict[Path, str], *, may_replace: bool) -> None:
    there = [str(path) for path in made if os.path.lexists(path)]
    if there and not may_replace:
        raise Failure(f"{', '.join(there)}: already there; --force replaces them", os.EX_CANTCREAT)
    try:
        for path, text in made.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            path.chmod(MODE)
            click.echo(path)
    except OSError as exc:
        raise Failure(f"{exc.filename}: {exc.strerror}", os.EX_CANTCREAT) from exc


def _left_to_do(host: Host, queue: str) -> str:
    steps = []
    if not _exists(host.user):
        steps.append(f"useradd --system --home-dir {host.mail_root} --shell /usr/sbin/nologin {host.user}")
    if not os.path.isdir(host.mail_root):
        steps.append(f"install -d -o {host.user} -g {host.user} -m 0700 {host.mail_root}")
    timers = "".join(f" {name}" for name in host.timers)
    as_user = f"runuser -u {host.user} -- {host.programs}"
    steps += [
        f"{as_user}/lmtpd check --config {CONFIG}",
        # An empty root is taken for one that is not mounted.
        f"{as_user}/maildir-make --config {CONFIG} --set mailboxes.create=true --user YOU@EXAMPLE.ORG",
        "systemctl daemon-reload",
        f"systemctl enable --now lmtpd.socket lmtpd.service{timers}",
    ]
    if host.web:
        steps.append("systemctl enable --now lmtpd-web.service   # if you want the page; see docs/web.md")
    return "\n".join(
        ("", "Then:", *(f"  {step}" for step in steps), "", "In Postfix's main.cf:", main_cf(host, queue))
    )


def _exists(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True
